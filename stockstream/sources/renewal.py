"""Replaces a connection before its venue ends it: the new one delivers first, then the old one is let go."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from websockets.exceptions import WebSocketException

from stockstream.core.backoff import full_jitter
from stockstream.sources.failure import asked_wait_s, cause_of
from stockstream.sources.limits import Sleep
from stockstream.sources.line import Line, Timing
from stockstream.sources.status import Status

log = logging.getLogger(__name__)

_LATEST, _SPREAD = 0.95, 0.1  # of the lifetime: connections opened together are not renewed together


class Renewal:
    """Opens the successors of one runner's lines.

    ``open_line`` connects, subscribes everything and reads; ``drop`` closes such a line after all that arrived on it is
    emitted. A connection is renewed within its ``lifetime_s`` (None: only when the venue asks for it). ``status`` says
    why that fails, while it does.
    """

    def __init__(
        self,
        name: str,
        lifetime_s: float | None,
        timing: Timing,
        status: Status,
        *,
        open_line: Callable[[], Awaitable[Line]],
        drop: Callable[[Line], Awaitable[None]],
        steady_s: Callable[[], float],
        sleep: Sleep,
        rng: random.Random,
    ) -> None:
        self._name, self._lifetime_s, self._timing, self._status = name, lifetime_s, timing, status
        self._open_line, self._drop = open_line, drop
        self._steady_s, self._sleep, self._rng = steady_s, sleep, rng

    async def successor(self, old: Line) -> Line:
        """The line that takes over from ``old``, once it is time and it delivers.

        Where that fails, ``old`` goes on and it is tried again. Two lines are open meanwhile: what comes twice has a
        trade id. Cancelling lets go of the new line.
        """
        await self._due(old)
        delays = full_jitter(self._timing.backoff_base_s, self._timing.backoff_cap_s, self._rng)
        while True:
            cause, wait_s = "not delivering", next(delays)
            try:
                fresh = await self._open_line()
                if await self._proven(fresh, old):
                    self._status.detail = ""
                    return fresh
                cause = fresh.fatal or fresh.verdict or cause
            except (OSError, WebSocketException) as error:
                cause, wait_s = cause_of(error), max(wait_s, asked_wait_s(error))
            self._status.detail = f"not renewed: {cause}"
            log.warning("%s: not renewed (%s); trying again in %.1f s", self._name, cause, wait_s)
            await self._sleep(wait_s)

    async def _due(self, old: Line) -> None:
        told = asyncio.ensure_future(old.ending.wait())
        waits: list[asyncio.Future[object]] = [told]  # type: ignore[list-item]  # what it returns does not matter
        if self._lifetime_s is not None:
            share = _LATEST - self._rng.uniform(0.0, _SPREAD)
            due_s = old.opened_s + share * self._lifetime_s - self._steady_s()
            waits.append(asyncio.ensure_future(self._sleep(max(due_s, 0.0))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _proven(self, fresh: Line, old: Line) -> bool:
        """Whether ``fresh`` delivers in time all that ``old`` does; it is dropped if not."""
        is_proven = False
        try:
            is_proven = await self._delivers(fresh, old)
        finally:
            if not is_proven:
                await self._drop(fresh)
        return is_proven

    async def _delivers(self, fresh: Line, old: Line) -> bool:
        until_s = self._steady_s() + self._timing.renew_within_s
        quiet_since_s, ticks = None, 0
        while not fresh.is_over and (now_s := self._steady_s()) < until_s:
            if not fresh.unconfirmed:
                if fresh.ticks:
                    return True
                if quiet_since_s is None or old.ticks != ticks:
                    quiet_since_s, ticks = now_s, old.ticks
                elif now_s - quiet_since_s >= self._timing.quiet_s:
                    return True
            await self._sleep(self._timing.watch_every_s)
        return False
