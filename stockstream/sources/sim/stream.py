"""The simulated market as a connection within this process: what it is told, and when what arrives."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from heapq import heappop, heappush

from websockets.exceptions import ConnectionClosedOK

from stockstream.sources.sim.options import Options
from stockstream.sources.sim.tape import SLOT_MS, Tape, Trade

_REST_S = 0.005
_FRAME_TRADES = 2_000


class SimStream:
    """A `Socket` of the runner; ``now_ms`` is the market's time.

    A symbol's trades begin with the subscription. While nobody receives, time goes on and nothing is lost.
    """

    def __init__(self, url: str, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.take: Callable[[list[bytes]], bool] | None = None
        self._options, self._now_ms = Options.of(url), now_ms
        self._tapes: dict[str, Tape] = {}
        self._arriving: list[tuple[int, int, Tape, Trade]] = []
        self._number = 0
        self._next_slot = now_ms() // SLOT_MS + 1
        self._closed = asyncio.Event()

    async def receive(self) -> list[bytes]:
        """The trades that have arrived, in one message; raises `ConnectionClosed` once closed."""
        while True:
            if self._closed.is_set():
                raise ConnectionClosedOK(None, None)
            if trades := list(self._arrived(self._now_ms())):
                return [json.dumps(trades).encode()]
            await self._rest()

    async def send(self, message: str) -> None:
        """Subscribe or unsubscribe symbols."""
        now_ms = self._now_ms()
        for what, symbols in json.loads(message).items():
            for symbol in symbols:
                if what == "unsubscribe":
                    self._tapes.pop(symbol, None)
                elif symbol not in self._tapes:
                    self._tapes[symbol] = Tape(symbol, self._options)
                    for slot in range(now_ms // SLOT_MS, self._next_slot):
                        self._make(self._tapes[symbol], slot, now_ms)

    async def ping(self) -> Awaitable[float]:
        """Nothing is faster than that."""
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        pong.set_result(0.0)
        return pong

    async def close(self) -> None:
        """End it; what has arrived and was not received is lost."""
        self._closed.set()

    def _arrived(self, now_ms: int) -> Iterator[Trade]:
        """What has arrived by now and was not received yet, in order; at most what fits into a message."""
        count = 0
        while count < _FRAME_TRADES:
            made_ms = self._next_slot * SLOT_MS
            if self._arriving and self._arriving[0][0] <= min(now_ms, made_ms - 1):
                _, _, tape, trade = heappop(self._arriving)
                if self._tapes.get(tape.symbol) is tape:
                    count += 1
                    yield trade
            elif made_ms <= now_ms:
                for tape in self._tapes.values():
                    self._make(tape, self._next_slot, 0)
                self._next_slot += 1
            else:
                return

    def _make(self, tape: Tape, slot: int, since_ms: int) -> None:
        for at_ms, trade in tape.arrivals(slot):
            if trade.time_ms >= since_ms:
                self._number += 1  # of two that arrive together the first made comes first
                heappush(self._arriving, (at_ms, self._number, tape, trade))

    async def _rest(self) -> None:
        """Until the next trade arrives or slot begins, or it is closed."""
        next_ms = self._next_slot * SLOT_MS
        if self._arriving:
            next_ms = min(next_ms, self._arriving[0][0])
        try:
            await asyncio.wait_for(self._closed.wait(), max(_REST_S, (next_ms - self._now_ms()) / 1000))
        except TimeoutError:
            return


async def open_stream(url: str) -> SimStream:
    """Connect to a simulated market."""
    return SimStream(url)
