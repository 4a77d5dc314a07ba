"""A venue's limits, kept on our side: how often something may be done, and when not at all."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from stockstream.sources.contract import Capabilities

Sleep = Callable[[float], Coroutine[Any, Any, None]]

_SHARE = 0.8  # of what a venue allows: it counts by its own clock, and other processes have the same address
_LONGEST_PAUSE_S = 3 * 86_400.0


def retry_after_s(header: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header; None if there is none, or none that can be read."""
    if header is None or not header.isascii() or not header.isdecimal():
        return None
    return min(float(header), _LONGEST_PAUSE_S)


class Window:
    """Lets at most a safe share of ``limit`` turns begin in any ``window_s``; None is no limit.

    Whoever shares an address with others shares their window, and `hold` holds all of them back.
    """

    def __init__(
        self,
        limit: int | None,
        window_s: float,
        *,
        steady_s: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._most = None if limit is None else max(1, int(limit * _SHARE))
        self._window_s, self._steady_s, self._sleep = window_s, steady_s, sleep
        self._begun: deque[float] = deque()
        self._held_until_s = 0.0

    def hold(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        self._held_until_s = max(self._held_until_s, self._steady_s() + seconds)

    @property
    def wait_s(self) -> float:
        """How long until the next turn may begin; 0 or less: now."""
        now_s = self._steady_s()
        while self._begun and self._begun[0] <= now_s - self._window_s:
            self._begun.popleft()
        wait_s = self._held_until_s - now_s
        if self._most is not None and len(self._begun) >= self._most:
            wait_s = max(wait_s, self._begun[-self._most] + self._window_s - now_s)
        return wait_s

    async def turn(self) -> None:
        """Wait until it is our turn, and take it."""
        while (wait_s := self.wait_s) > 0:
            await self._sleep(wait_s)
        if self._most is not None:
            self._begun.append(self._steady_s())


class Pace:
    """Spaces what is done by ``every_s`` (0: not at all)."""

    def __init__(self, every_s: float, *, steady_s: Callable[[], float], sleep: Sleep) -> None:
        self._every_s, self._steady_s, self._sleep = every_s, steady_s, sleep
        self._next_s = float("-inf")
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until it is our turn; turns come in the order in which they were asked for."""
        async with self._lock:
            while self._every_s and (wait_s := self._next_s - self._steady_s()) > 0:
                await self._sleep(wait_s)
            self._next_s = self._steady_s() + self._every_s


def attempts_of(
    limits: Capabilities, steady_s: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
) -> Window:
    """The attempts to connect that a venue allows to one address."""
    return Window(limits.attempts, limits.attempts_window_s, steady_s=steady_s, sleep=sleep)
