"""The simulated market as a feed: trades with ids, around the clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Any

from stockstream.errors import BadMessage
from stockstream.models import Tick, is_symbol
from stockstream.sources.contract import Capabilities, Frame
from stockstream.sources.sim.options import URL, Options
from stockstream.sources.sim.tape import DECIMALS, SLOT_MS, Tape

_GREATEST_LONG = 2**63 - 1


class SimFeed:
    """One connection's worth of the simulation's protocol; raises `SettingsError` for a URL that is no market."""

    name = "sim"
    capabilities = Capabilities(
        kind="trades",
        symbols_per_connection=500,
        silence_s=inf,
        has_trade_ids=True,
        sequential_ids=True,
        history_days=366,
    )

    def __init__(self, url: str = URL) -> None:
        Options.of(url)
        self.url = url

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """One frame for all of them."""
        return [json.dumps({"subscribe": list(symbols)})]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """One frame for all of them."""
        return [json.dumps({"unsubscribe": list(symbols)})]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """The trades of a frame."""
        try:
            return [_tick(trade, received_ms) for trade in json.loads(frame)]
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise BadMessage(f"no trades of a simulated market: {error}") from error

    def is_open(self, now_ms: int) -> bool:
        """Always."""
        return True

    def fatal(self, error: Exception) -> str | None:
        """Nothing is."""
        return None


class SimHistory:
    """Every trade of the simulated market, those that its stream has lost or not brought yet among them."""

    name = "sim"
    depth_ms = SimFeed.capabilities.history_days * 86_400_000

    def __init__(self, url: str = URL) -> None:
        self._options = Options.of(url)

    async def trades(self, symbol: str, from_ms: int, until_ms: int) -> AsyncIterator[list[Tick]]:
        """The trades in ``[from_ms, until_ms]``, a slot at a time."""
        tape = Tape(symbol, self._options)
        for slot in range(from_ms // SLOT_MS, until_ms // SLOT_MS + 1):
            within = [trade for trade in tape.slot(slot) if from_ms <= trade.time_ms <= until_ms]
            if within:
                yield [_tick(trade, trade.time_ms) for trade in within]
            await asyncio.sleep(0)


def _tick(trade: Any, received_ms: int) -> Tick:
    symbol, trade_id, time_ms, price, size = trade
    if not isinstance(symbol, str) or not is_symbol(symbol):
        raise TypeError("a symbol is none")
    if not all(type(each) in (int, float) for each in (price, size)):
        raise TypeError("price and size are numbers")
    if type(trade_id) is not int or type(time_ms) is not int or not 0 <= trade_id <= _GREATEST_LONG >= time_ms > 0:
        raise TypeError("id and time are whole numbers")
    return Tick(
        symbol,
        time_ms,
        float(price),
        float(size),
        trade_id=trade_id,
        producer_timestamp=received_ms,
        exchange="SIM",
        quote_type=8,
        price_hint=str(DECIMALS),
        source="sim",
        currency="USD",
    )
