"""Binance's past: trades, with the ids of the live feed, and its own candles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import BadMessage, HistoryFailed, RequestFailed
from stockstream.models import Tick
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.parse import NAME, PREFIX, first_trade_id, past_trade, venue_candle
from stockstream.sources.binance.rest import AGGREGATES, KLINES, PAST_TRADES, URL, client
from stockstream.sources.contract import VenueCandle
from stockstream.sources.limits import Sleep

_T = TypeVar("_T")

_PAGE = 1000
_DAY_MS = 86_400_000
_TRIES = 5
_PATIENCE_S = 120.0


class BinanceHistory:
    """Reads raw trades by their ids, and klines by time.

    ``aggTrades`` can be asked by time and says which raw trades each of its own is made of; ``historicalTrades`` gives
    those, but can be asked by id only.
    """

    name = NAME
    depth_ms = BinanceFeed.capabilities.history_days * _DAY_MS

    def __init__(self, url: str = URL, sleep: Sleep = asyncio.sleep) -> None:
        self._rest = client(url)
        self._sleep = sleep

    async def trades(self, symbol: str, from_ms: int, until_ms: int) -> AsyncIterator[list[Tick]]:
        """All trades of ``[from_ms, until_ms]``, ascending, a page at a time; raises `HistoryFailed`.

        Also where ids are missing: who repairs a hole by these trades must not take a part of them for all.
        """
        name = symbol.removeprefix(PREFIX)
        rows = await self._rows("aggTrades", {"symbol": name, "startTime": from_ms, "limit": 1}, AGGREGATES)
        begins = _read(symbol, rows, first_trade_id)
        if not begins:
            return
        next_id = begins[0]
        while True:
            query: dict[str, str | int] = {"symbol": name, "fromId": next_id, "limit": _PAGE}
            rows = await self._rows("historicalTrades", query, PAST_TRADES)
            page = _read(symbol, rows, lambda row: past_trade(symbol, row))
            is_promised = next_id == begins[0]
            if [tick.trade_id for tick in page] != [*range(next_id, next_id + len(page))] or (is_promised and not page):
                raise HistoryFailed(f"Binance's history of {symbol} lacks trades from id {next_id} on")
            if found := [tick for tick in page if from_ms <= tick.event_time <= until_ms]:
                yield found
            if len(page) < _PAGE or page[-1].event_time > until_ms:
                return
            next_id += len(page)

    async def candles(
        self, symbol: str, interval: str, from_ms: int, until_ms: int
    ) -> AsyncIterator[list[VenueCandle]]:
        """The klines that begin in ``[from_ms, until_ms)``, ascending, a page at a time; raises `HistoryFailed`.

        ``interval`` is one of ours, which Binance calls by the same names.
        """
        name, length_ms = symbol.removeprefix(PREFIX), INTERVALS_MS[interval]
        query: dict[str, str | int] = {"symbol": name, "interval": interval, "endTime": until_ms - 1, "limit": _PAGE}
        while from_ms < until_ms:
            rows = await self._rows("klines", {**query, "startTime": from_ms}, KLINES)
            page = _read(symbol, rows, lambda row: venue_candle(interval, row))
            starts_ms = [from_ms - 1, *(candle.window_start for candle in page), until_ms]
            if any(later <= earlier for earlier, later in pairwise(starts_ms)):
                raise HistoryFailed(f"Binance's history of {symbol} cannot be read: it gives klines not asked for")
            if page:
                yield page
            if len(page) < _PAGE or page[-1].window_start + length_ms >= until_ms:
                return
            from_ms = page[-1].window_start + 1

    async def close(self) -> None:
        """Let go of the connections."""
        await self._rest.close()

    async def _rows(self, path: str, query: Mapping[str, str | int], weight: int) -> list[Any]:
        tries = 0
        while True:
            try:
                rows = await self._rest.get(f"/api/v3/{path}", query, weight)
            except RequestFailed as error:
                tries += 1
                wait_s = error.retry_after_s if error.retry_after_s is not None else float(tries)
                if error.is_fatal or tries == _TRIES or wait_s > _PATIENCE_S:
                    raise HistoryFailed(f"no history of {query['symbol']}: {error}") from error
                await self._sleep(wait_s)
                continue
            if not isinstance(rows, list):
                raise HistoryFailed(f"no history of {query['symbol']}: Binance answers {path} with no list")
            return rows


def _read(symbol: str, rows: list[Any], parse: Callable[[Any], _T]) -> list[_T]:
    try:
        return [parse(row) for row in rows]
    except BadMessage as error:
        raise HistoryFailed(f"Binance's history of {symbol} cannot be read: {error}") from error
