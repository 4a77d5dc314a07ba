"""Binance's payloads as ticks. Prices and quantities are decimal strings, times are epoch ms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stockstream.errors import BadMessage
from stockstream.models import Tick, is_symbol
from stockstream.sources.contract import Frame, VenueCandle
from stockstream.sources.reading import read_json, shown

NAME, PREFIX, EXCHANGE = "binance", "BINANCE:", "BINANCE"
CRYPTOCURRENCY = 41
"""``quote_type``, as Yahoo numbers it."""

# How every trade looked that was seen: taken apart without reading it as JSON. What differs is read the slow way.
_TRADE = re.compile(
    rb'\{"stream":"[a-z0-9]{1,40}@trade","data":\{"e":"trade","E":\d{1,18},"s":"([A-Z0-9]{1,40})","t":(\d{1,18}),'
    rb'"p":"(\d{1,18}(?:\.\d{1,18})?)","q":"(\d{1,18}(?:\.\d{1,18})?)",(?:"b":\d{1,18},"a":\d{1,18},)?'
    rb'"T":(\d{1,18}),"m":(?:true|false),"M":(?:true|false)\}\}'
).fullmatch
_GREATEST = 1 << 63
_names: dict[bytes, str] = {}


def parse(frame: Frame, received_ms: int) -> Tick | dict[str, Any]:
    """The trade of a combined stream's frame, or the JSON object that it is instead; raises `BadMessage` only."""
    if isinstance(frame, bytes) and (found := _TRADE(frame)) is not None:
        name, trade_id, price, size, time = found.groups()
        symbol = _names.get(name) or _names.setdefault(name, PREFIX + name.decode())
        return trade_tick(symbol, int(trade_id), float(price), float(size), int(time), received_ms)
    content = read_json(frame)
    if not isinstance(content, dict):
        raise BadMessage(f"no JSON object: {shown(frame)}")
    data = content.get("data", content)
    if not isinstance(data, dict):
        raise BadMessage(f"a stream's data that are no object: {shown(frame)}")
    if data.get("e") != "trade":
        return data
    try:
        return trade_tick(
            symbol_of(data["s"]),
            _whole(data["t"]),
            decimal(data["p"]),
            decimal(data["q"]),
            _whole(data["T"]),
            received_ms,
        )
    except (LookupError, TypeError, ValueError) as error:
        raise BadMessage(f"no trade: {shown(frame)} ({error})") from error


def trade_tick(symbol: str, trade_id: int, price: float, size: float, time_ms: int, received_ms: int) -> Tick:
    """One trade, the same whether it was streamed or asked for."""
    return Tick(
        symbol,
        time_ms,
        price,
        size,
        -1,
        trade_id,
        "trade",
        received_ms,
        str(time_ms),
        EXCHANGE,
        CRYPTOCURRENCY,
        source=NAME,
    )


def past_trade(symbol: str, row: Mapping[str, Any]) -> Tick:
    """A row of ``historicalTrades``, as if it had been received when it happened; raises `BadMessage` only."""
    try:
        time_ms = _whole(row["time"])
        return trade_tick(symbol, _whole(row["id"]), decimal(row["price"]), decimal(row["qty"]), time_ms, time_ms)
    except (LookupError, TypeError, ValueError) as error:
        raise BadMessage(f"no past trade: {shown(row)} ({error})") from error


def first_trade_id(row: Mapping[str, Any]) -> int:
    """The id of the first trade that a row of ``aggTrades`` is made of; raises `BadMessage` only."""
    try:
        return _whole(row["f"])
    except (LookupError, TypeError, ValueError) as error:
        raise BadMessage(f"no aggregate of trades: {shown(row)} ({error})") from error


def venue_candle(interval: str, row: Any) -> VenueCandle:
    """A row of ``klines``; raises `BadMessage` only."""
    try:
        opening, high, low, close, volume = map(decimal, row[1:6])
        return VenueCandle(interval, _whole(row[0]), opening, high, low, close, volume, _whole(row[8]))
    except (LookupError, TypeError, ValueError) as error:
        raise BadMessage(f"no kline: {shown(row)} ({error})") from error


def ticker_quote(row: Mapping[str, Any], received_ms: int) -> Tick:
    """A row of the 24 h ticker as a ``quote`` with its figures; raises `BadMessage` only."""
    try:
        time_ms = _whole(row["closeTime"])
        return Tick(
            symbol_of(row["symbol"]),
            time_ms,
            decimal(row["lastPrice"]),
            decimal(row["lastQty"]),
            kind="quote",
            producer_timestamp=received_ms,
            timestamp=str(time_ms),
            exchange=EXCHANGE,
            quote_type=CRYPTOCURRENCY,
            change_percent=decimal(row["priceChangePercent"]),
            change=decimal(row["priceChange"]),
            source=NAME,
            bid=decimal(row["bidPrice"]),
            bid_size=decimal(row["bidQty"]),
            ask=decimal(row["askPrice"]),
            ask_size=decimal(row["askQty"]),
            open_24h=decimal(row["openPrice"]),
            high_24h=decimal(row["highPrice"]),
            low_24h=decimal(row["lowPrice"]),
            volume_24h=decimal(row["volume"]),
            quote_volume_24h=decimal(row["quoteVolume"]),
            trades_24h=_whole(row["count"]),
            price_change_24h=decimal(row["priceChange"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise BadMessage(f"no 24 h ticker: {shown(row)} ({error})") from error


def symbol_of(name: object) -> str:
    """Our symbol for Binance's own; raises `ValueError`."""
    if not isinstance(name, str) or not name or not is_symbol(PREFIX + name):
        raise ValueError(f"{shown(name)} is no symbol")
    return PREFIX + name


def decimal(text: object) -> float:
    """A decimal string; raises `ValueError` where it is none, or no finite number."""
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is no decimal string")
    number = float(text)
    if not -1e300 < number < 1e300:
        raise ValueError(f"{shown(text)} is no finite number")
    return number


def _whole(number: object) -> int:
    if type(number) is not int or not -_GREATEST <= number < _GREATEST:
        raise ValueError(f"{shown(number)} is no whole number of 64 bits")
    return number
