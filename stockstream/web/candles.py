"""``GET /candles/{symbol}``: stored candles overlaid with the live ones."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from multidict import MultiMapping

from stockstream.core.interval import REGULAR, SESSIONS, check_interval
from stockstream.core.overlay import fill_previous, overlay
from stockstream.core.piece import clock_name
from stockstream.core.trading import Hours, Trading
from stockstream.errors import InvalidInput
from stockstream.models import Candle, check_symbol
from stockstream.sinks.contract import Sink
from stockstream.web.latest import still_reading
from stockstream.web.live import LiveView
from stockstream.web.query import check_names, one_of
from stockstream.web.times import parse_time, stamp

PARAMETERS = ("interval", "start", "end", "limit", "fill", "session")
FILLS = ("none", "previous")
DEFAULT_LIMIT = 500
MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """What is asked for: the last ``limit`` candles whose ``window_start`` lies in ``[start_ms, end_ms)``."""

    interval: str = "1m"
    session: str = REGULAR
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = DEFAULT_LIMIT
    fill: bool = False

    @classmethod
    def parse(cls, query: MultiMapping[str]) -> Self:
        """Read the parameters of a URL; `InvalidInput` says which one is wrong and what it may be."""
        check_names(query, PARAMETERS)
        start, end = query.get("start"), query.get("end")
        asked = cls(
            interval=check_interval(query.get("interval", "1m")),
            session=one_of("session", query.get("session", REGULAR), SESSIONS),
            start_ms=None if start is None else parse_time("start", start),
            end_ms=None if end is None else parse_time("end", end),
            limit=parse_limit(query.get("limit", str(DEFAULT_LIMIT))),
            fill=one_of("fill", query.get("fill", "none"), FILLS) == "previous",
        )
        if asked.start_ms is not None and asked.end_ms is not None and asked.start_ms >= asked.end_ms:
            raise InvalidInput("start must lie before end")
        return asked

    def holds(self, window_start_ms: int) -> bool:
        """Whether a window that begins then is asked for."""
        after_start = self.start_ms is None or window_start_ms >= self.start_ms
        return after_start and (self.end_ms is None or window_start_ms < self.end_ms)


def parse_limit(text: str) -> int:
    """The parameter ``limit``; raises `InvalidInput`."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidInput(f"limit={text!r} is out of range: use 1 to {MAX_LIMIT}")
    return int(text)


def candle_json(candle: Candle) -> dict[str, Any]:
    """A candle as it is answered; ``version`` as text, since it exceeds the 2^53 that JavaScript counts exactly."""
    return {
        **stamp("window_start", candle.window_start),
        **stamp("window_end", candle.window_end),
        **stamp("session_open", candle.session_open),
        **stamp("session_close", candle.session_close),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "vwap": candle.vwap,
        "trades": candle.trades,
        "is_closed": candle.is_closed,
        "state": candle.state,
        "version": str(candle.version),
        "partial": candle.partial,
        "gap": candle.gap,
        "corrected": candle.corrected,
    }


class Candles:
    """Answers from the sink overlaid with the live view; from the live view alone where there is no sink."""

    def __init__(self, live: LiveView, sink: Sink | None, trading: Trading) -> None:
        self._live = live
        self._sink = sink
        self._trading = trading

    async def get(self, request: web.Request) -> web.Response:
        """``{"symbol", "interval", "session", "candles": [...]}``, ascending; 404 where no candle ever was."""
        symbol = check_symbol(request.match_info["symbol"])
        asked = CandleQuery.parse(request.query)
        candles = await self._candles(symbol, asked)
        if not candles and not await self._is_known(symbol, asked.interval):
            raise web.HTTPNotFound(text=f"no candles of {symbol} are known")
        # Ten thousand candles take a few hundred ms to write, too long for the loop that ticks go through.
        body = await asyncio.to_thread(_write, symbol, asked, candles)
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    async def _candles(self, symbol: str, asked: CandleQuery) -> list[Candle]:
        stored: list[Candle] = []
        if self._sink is not None:
            stored = await self._sink.candles(
                symbol, asked.interval, asked.start_ms, asked.end_ms, asked.limit, session=asked.session
            )
        live = self._live.candles(symbol, asked.interval, asked.session)
        merged = overlay(stored, (candle for candle in live if asked.holds(candle.window_start)))
        return fill_previous(merged, asked.limit, self._hours(symbol)) if asked.fill else merged[-asked.limit :]

    def _hours(self, symbol: str) -> Hours | None:
        """Those of the exchange that its newest price names; without a price, of what its name tells."""
        price = self._live.latest.get(symbol)
        if price is None:
            return self._trading.guessed(symbol)
        return self._trading.hours(clock_name(price.source, price.exchange))

    async def _is_known(self, symbol: str, interval: str) -> bool:
        if symbol in self._live.symbols:
            return True
        if self._sink is not None:
            for session in SESSIONS:
                if await self._sink.candles(symbol, interval, None, None, 1, session=session):
                    return True
        if not self._live.ready:
            raise still_reading()
        return False


def _write(symbol: str, asked: CandleQuery, candles: list[Candle]) -> bytes:
    answer = {
        "symbol": symbol,
        "interval": asked.interval,
        "session": asked.session,
        "candles": [candle_json(candle) for candle in candles],
    }
    return json.dumps(answer, allow_nan=False).encode()
