"""Binance's 24 h ticker, asked for each second: quotes with the figures of the last 24 hours."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from stockstream.errors import BadMessage, RequestFailed
from stockstream.models import Tick
from stockstream.sources.binance.parse import PREFIX, ticker_quote
from stockstream.sources.binance.rest import UNKNOWN_SYMBOL, URL, client, ticker_weight

log = logging.getLogger(__name__)

_PATH = "/api/v3/ticker/24hr"
_ALL = 100  # more symbols than this are as dear as all of them


class BinanceTicker:
    """The tickers of any symbols; of those that have not changed since the last time nothing is told.

    Quotes move the latest price only: the candles are made of trades.
    """

    every_s = 1.0

    def __init__(self, url: str = URL, every_s: float = 1.0) -> None:
        self._rest = client(url)
        self.every_s = every_s
        self._told: dict[str, tuple[Any, ...]] = {}
        self._unknown: set[str] = set()

    async def ticks(self, symbols: Sequence[str], now_ms: Callable[[], int]) -> list[Tick]:
        """The quotes that are new; raises `RequestFailed`."""
        wanted = [symbol for symbol in symbols if symbol not in self._unknown]
        if not wanted:
            return []
        try:
            rows = await self._rows(wanted)
        except RequestFailed as error:
            if error.code != UNKNOWN_SYMBOL:
                raise
            rows = await self._rows(())
            listed = {PREFIX + str(row.get("symbol")) for row in rows if isinstance(row, dict)}
            self._unknown.update(set(wanted) - listed)
            log.error("Binance knows no %s", ", ".join(sorted(set(wanted) - listed)))
        received_ms, asked = now_ms(), set(wanted)
        return [quote for row in rows if (quote := self._news(row, asked, received_ms)) is not None]

    async def close(self) -> None:
        """Let go of the connections."""
        await self._rest.close()

    async def _rows(self, symbols: Sequence[str]) -> list[Any]:
        """The rows of these symbols, or of all."""
        if not 0 < len(symbols) <= _ALL:
            rows = await self._rest.get(_PATH, {}, ticker_weight(_ALL + 1))
        else:
            names = json.dumps([symbol.removeprefix(PREFIX) for symbol in symbols], separators=(",", ":"))
            rows = await self._rest.get(_PATH, {"symbols": names}, ticker_weight(len(symbols)))
        if not isinstance(rows, list):
            raise RequestFailed(f"Binance answers {_PATH} with no list")
        return rows

    def _news(self, row: Any, asked: set[str], received_ms: int) -> Tick | None:
        if not isinstance(row, dict) or PREFIX + str(row.get("symbol")) not in asked:
            return None
        try:
            quote = ticker_quote(row, received_ms)
        except BadMessage as error:
            raise RequestFailed(f"Binance answers {_PATH} with {error}") from error
        figures = (quote.price, quote.bid, quote.ask, quote.volume_24h, quote.trades_24h, quote.open_24h)
        if quote.price <= 0 or self._told.get(quote.symbol) == figures:
            return None
        self._told[quote.symbol] = figures
        return quote
