"""Trades of the past at the pace of their own time, N times as fast, or as fast as they are taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Coroutine, Iterable
from operator import attrgetter
from typing import Any, Literal

from stockstream.errors import StockstreamError
from stockstream.models import Tick
from stockstream.sources.contract import Emit

Clock = Literal["event", "received"]
"""Whether ticks are due when they happened, or when they were received."""

_CHUNK = 500


class Player:
    """Gives ``trades``, in their order, to ``emit``: those due by now together, at most 500 at once.

    The first is due at once, and each other ``speed`` times sooner after it than by ``clock``; with a ``speed`` of None
    all are due. What is due is reckoned from the first, so that no delay adds up. With ``only`` the trades of other
    symbols are left out. ``sent`` counts what ``emit`` has taken, ``symbols`` are those of it. Trades are read as they
    are needed, on the event loop. ``steady_s`` and ``sleep`` measure waiting.
    """

    def __init__(
        self,
        trades: Iterable[Tick] | AsyncIterable[Tick],
        emit: Emit,
        *,
        speed: float | None,
        only: Collection[str] | None = None,
        clock: Clock = "event",
        steady_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self.sent = 0
        self.symbols: set[str] = set()
        self._trades, self._emit, self._speed, self._only = trades, emit, speed, only
        self._steady_s, self._sleep = steady_s, sleep
        self._time_ms: Callable[[Tick], int] = attrgetter("event_time" if clock == "event" else "received_ms")
        self._chunk: list[Tick] = []
        self._stopping = asyncio.Event()
        self._began_s = 0.0
        self._first_ms: int | None = None

    async def run(self) -> None:
        """Play to the end, or until `stop`; raises what reading the trades or ``emit`` raises."""
        try:
            await self._play()
        except StockstreamError:
            await self._give()  # the trades before the line that is none
            raise
        await self._give()

    def stop(self) -> None:
        """End `run` now; if ``emit`` is being awaited, then when it returns."""
        self._stopping.set()

    async def _play(self) -> None:
        number = 0
        async for tick in _each(self._trades):
            number += 1
            if number % _CHUNK == 0:
                await asyncio.sleep(0)  # nor may trades that are left out keep the loop from other work
            if self._stopping.is_set():
                return
            if self._only is not None and tick.symbol not in self._only:
                continue
            if len(self._chunk) == _CHUNK or self._wait_s(tick) > 0:
                await self._give()
                wait_s = self._wait_s(tick)
                if wait_s > 0 and await self._is_stopped_within(wait_s):
                    return
            self._chunk.append(tick)

    async def _give(self) -> None:
        chunk, self._chunk = self._chunk, []
        if chunk:
            await self._emit(chunk)
            self.sent += len(chunk)
            self.symbols.update(tick.symbol for tick in chunk)

    def _wait_s(self, tick: Tick) -> float:
        """How long it is until a trade is due; nothing or less if it is."""
        if self._speed is None:
            return 0.0
        if self._first_ms is None:
            self._began_s, self._first_ms = self._steady_s(), self._time_ms(tick)
        return self._began_s + (self._time_ms(tick) - self._first_ms) / 1000 / self._speed - self._steady_s()

    async def _is_stopped_within(self, wait_s: float) -> bool:
        tasks = [asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(self._sleep(wait_s))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return self._stopping.is_set()


async def _each(trades: Iterable[Tick] | AsyncIterable[Tick]) -> AsyncIterator[Tick]:
    if isinstance(trades, AsyncIterable):
        async for tick in trades:
            yield tick
    else:
        for tick in trades:
            yield tick
