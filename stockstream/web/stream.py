"""``GET /stream``: prices and candles as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from multidict import MultiMapping

from stockstream.core.interval import REGULAR, SESSIONS, check_interval
from stockstream.errors import InvalidInput
from stockstream.models import Candle, Latest, check_symbol
from stockstream.push import Event, Key, Subscription, Update
from stockstream.web.candles import candle_json
from stockstream.web.latest import latest_json
from stockstream.web.live import LiveView
from stockstream.web.query import check_names, one_of
from stockstream.web.recent import LATEST

logger = logging.getLogger(__name__)

PARAMETERS = ("symbols", "interval", "session", "latest")
ALL = "*"
MAX_SYMBOLS = 50
RETRY_MS = 1000
_PIECE_BYTES = 65_536

_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What a client follows: prices of ``symbols`` (of all if ``prices_of_all``), and their candles of ``interval``."""

    symbols: frozenset[str] = frozenset()
    interval: str | None = None
    session: str = REGULAR
    prices_of_all: bool = True

    @classmethod
    def parse(cls, query: MultiMapping[str]) -> Self:
        """Read the parameters of a URL; `InvalidInput` says which one is wrong and what it may be."""
        check_names(query, PARAMETERS)
        symbols = _symbols(query.get("symbols", ALL))
        interval, latest = query.get("interval"), query.get("latest")
        if interval is not None:
            check_interval(interval)
            if not symbols:
                raise InvalidInput("interval needs symbols: name those whose candles you follow")
        elif "session" in query:
            raise InvalidInput("session needs an interval: prices are of both sessions")
        if latest not in (None, "all"):
            raise InvalidInput(f"latest={latest!r} is unknown: use all, or leave it out")
        session = one_of("session", query.get("session", REGULAR), SESSIONS)
        return cls(symbols, interval, session, prices_of_all=not symbols or latest == "all")

    def wants(self, key: Key) -> bool:
        """Whether a state published under this key is followed."""
        if key[0] == LATEST:
            return self.prices_of_all or key[1] in self.symbols
        return key[1] in self.symbols and key[2] == self.interval and key[3] == self.session


def _symbols(text: str) -> frozenset[str]:
    if text == ALL:
        return frozenset()
    symbols = frozenset(check_symbol(symbol) for symbol in text.split(","))
    if len(symbols) > MAX_SYMBOLS:
        raise InvalidInput(f"{len(symbols)} symbols are too many: name at most {MAX_SYMBOLS}")
    return symbols


class Stream:
    """Answers from the live view: what it knows now, then what it takes in.

    A silent connection gets a comment every ``heartbeat_s``; one that takes less than 64 KiB of what waits for it in
    ``write_timeout_s`` is cut off. How many there may be is not decided here.
    """

    def __init__(
        self,
        live: LiveView,
        now_ms: Callable[[], int],
        *,
        heartbeat_s: float = 15.0,
        write_timeout_s: float = 10.0,
    ) -> None:
        self._live = live
        self._now_ms = now_ms
        self._heartbeat_s = heartbeat_s
        self._write_timeout_s = write_timeout_s

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Events ``snapshot``, ``latest``, ``candle`` and ``removed`` until the client or the worker goes."""
        asked = StreamQuery.parse(request.query)
        hub = self._live.hub
        if hub.closed:
            raise web.HTTPServiceUnavailable(
                text="this worker is stopping; try again in 5 s", headers={"Retry-After": "5"}
            )
        with hub.subscribe(asked.wants, request.headers.get("Last-Event-ID")) as subscription:
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            try:
                await self._send(response, f"retry: {RETRY_MS}\n\n".encode())
                await self._follow(response, subscription, asked)
            except ConnectionError:
                logger.debug("%s has gone", request.remote)
            except _Stalled:
                logger.warning(
                    "%s does not take what it follows for %g s: cut off", request.remote, self._write_timeout_s
                )
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _follow(self, response: web.StreamResponse, subscription: Subscription, asked: StreamQuery) -> None:
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    update = await anext(subscription, None)
            except TimeoutError:
                await self._send(response, b": still here\n\n")
                continue
            if update is None:
                return
            if update.restart:
                await self._send(response, await self._snapshot(update, asked))
            else:
                await self._send(response, b"".join(map(self._encoded, update.events)))

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        for first in range(0, len(data), _PIECE_BYTES):
            try:
                async with asyncio.timeout(self._write_timeout_s):
                    await response.write(data[first : first + _PIECE_BYTES])
            except TimeoutError:
                raise _Stalled from None

    async def _snapshot(self, update: Update, asked: StreamQuery) -> bytes:
        live = self._live
        known = live.latest.keys() if asked.prices_of_all else asked.symbols & live.latest.keys()
        prices = [live.latest[symbol] for symbol in sorted(known)]
        series = {}
        if asked.interval is not None:
            series = {symbol: live.candles(symbol, asked.interval, asked.session) for symbol in sorted(asked.symbols)}
        event_id = live.hub.event_id(update.number)
        # All that changes is in hand: what is published while a thread writes it down is in the next update.
        return await asyncio.to_thread(_write_snapshot, event_id, live.ready, prices, series, asked, self._now_ms())

    def _encoded(self, event: Event) -> bytes:
        if event.encoded is None:
            kind, body = self._body(event)
            event.encoded = _frame(self._live.hub.event_id(event.number), kind, body)
        return event.encoded

    def _body(self, event: Event) -> tuple[str, dict[str, Any]]:
        if isinstance(event.value, Candle):
            return "candle", _candle_body(event.value)
        if isinstance(event.value, Latest):
            return "latest", latest_json(event.value, self._now_ms())
        return "removed", {"symbol": event.key[1]}


class _Stalled(Exception):
    """A client does not take what it is sent."""


def _candle_body(candle: Candle) -> dict[str, Any]:
    return {
        "symbol": candle.symbol,
        "interval": candle.interval,
        "session": candle.session,
        **candle_json(candle),
    }


def _write_snapshot(
    event_id: str,
    complete: bool,
    prices: Iterable[Latest],
    series: dict[str, list[Candle]],
    asked: StreamQuery,
    now_ms: int,
) -> bytes:
    body = {
        "complete": complete,
        "latest": [latest_json(price, now_ms) for price in prices],
        "candles": [
            {
                "symbol": symbol,
                "interval": asked.interval,
                "session": asked.session,
                "candles": [candle_json(candle) for candle in candles],
            }
            for symbol, candles in series.items()
        ],
    }
    return _frame(event_id, "snapshot", body)


def _frame(event_id: str, kind: str, body: dict[str, Any]) -> bytes:
    # JSON holds no line break of its own, so one data line carries it
    text = json.dumps(body, allow_nan=False, separators=(",", ":"))
    return f"id: {event_id}\nevent: {kind}\ndata: {text}\n\n".encode()
