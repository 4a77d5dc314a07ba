"""Sockets that do what a test says, under a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close

START_MS = 1_700_000_000_000


class Time:
    """Seconds since the start; `pass_` lets them go by in small steps, and everybody act in between."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def steady_s(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, future))
        await future

    async def pass_(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        await settle()
        while True:
            self._sleepers = [(due_s, future) for due_s, future in self._sleepers if not future.done()]
            due_s = min((due_s for due_s, _ in self._sleepers), default=end_s + 1)
            if due_s > end_s:
                break
            self.now_s = max(self.now_s, due_s)
            for when_s, future in self._sleepers:
                if when_s <= self.now_s and not future.done():
                    future.set_result(None)
            await settle()
        self.now_s = end_s


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


class ScriptedSocket:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.take: Callable[[list[bytes]], bool] | None = None
        self.answers_pings = True
        self.pings = 0
        self.closed_by_us = False
        self._arrived: asyncio.Queue[bytes | ConnectionClosed] = asyncio.Queue()
        self._end: ConnectionClosed | None = None

    def arrive(self, *frames: str) -> None:
        if self._arrived.empty() and self.take is not None and self.take([frame.encode() for frame in frames]):
            return
        for frame in frames:
            self._arrived.put_nowait(frame.encode())

    def end(self, code: int | None = None) -> None:
        if self._end is None:
            self._end = ConnectionClosedError(None if code is None else Close(code, ""), None)
            self._arrived.put_nowait(self._end)

    async def receive(self) -> list[bytes]:
        items = [await self._arrived.get()]
        while not self._arrived.empty():
            items.append(self._arrived.get_nowait())
        frames = [item for item in items if isinstance(item, bytes)]
        if self._end is not None:
            self._arrived.put_nowait(self._end)
            if not frames:
                raise self._end
        return frames

    async def send(self, message: str) -> None:
        if self._end is not None:
            raise self._end
        self.said.append(message)

    async def ping(self) -> asyncio.Future[float]:
        if self._end is not None:
            raise self._end
        self.pings += 1
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self.answers_pings:
            pong.set_result(0.001)
        return pong

    async def close(self) -> None:
        self.closed_by_us = self.closed_by_us or self._end is None
        self.end(1000)


class Venue:
    """Opens a scripted socket for each attempt, or fails as told."""

    def __init__(self) -> None:
        self.sockets: list[ScriptedSocket] = []
        self.failures: list[Exception] = []
        self.attempts = 0
        self.hangs = False

    async def open(self, url: str) -> ScriptedSocket:
        self.attempts += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop(0)
        self.sockets.append(ScriptedSocket())
        return self.sockets[-1]

    @property
    def socket(self) -> ScriptedSocket:
        return self.sockets[-1]
