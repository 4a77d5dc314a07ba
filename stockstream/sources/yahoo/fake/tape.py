"""What the fake did: every trade of its market, and every frame with whom it was sent to."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from stockstream.sources.market import Instrument, Trade
from stockstream.sources.yahoo.pricing import PricingData


@dataclass(frozen=True, slots=True)
class Sent:
    """One pricing frame sent on a connection: what it said (``time_ms`` in whole seconds), and when it was sent.

    ``is_last_known`` marks the answer to a subscription; ``volume`` is the instrument's, 0 where it has none.
    """

    connection: int
    symbol: str
    time_ms: int
    price: float
    volume: int
    sent_ms: int
    is_last_known: bool = False


@dataclass(slots=True)
class Tape:
    """Everything in the order in which it happened."""

    trades: list[Trade] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    rubbish: int = 0


def pricing_frame(each: Instrument, price: float, time_ms: int, volume: int, hours: int) -> str:
    """The text frame that tells a price of an instrument, with the fields that Yahoo sends for its kind."""
    change = price - each.previous_close
    pricing = PricingData(
        id=each.symbol,
        price=price,
        time=time_ms,
        exchange=each.exchange,
        quote_type=each.quote_type,
        market_hours=hours,
        change=change,
        change_percent=100 * change / each.previous_close,
        price_hint=each.decimals,
    )
    if each.has_volume:
        pricing.day_volume = volume
    if each.is_rolling:
        pricing.currency, pricing.from_currency = each.currency, each.symbol.partition("-")[0]
        pricing.last_size = pricing.vol_24hr = pricing.vol_all_currencies = volume
        pricing.last_market = "CoinMarketCap"
    message = base64.b64encode(pricing.SerializeToString()).decode()
    return json.dumps({"type": "pricing", "message": message}, separators=(",", ":"))
