"""Gives up a connection that is silent while its venue is open, does not answer, or is of no use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed

from stockstream.sources.contract import Feed
from stockstream.sources.limits import Sleep
from stockstream.sources.line import Line, Timing

_LONGEST_PATIENCE = 16


class Watchdog:
    """Watches the lines of one runner; ``is_busy`` says that we are the ones who are waited for."""

    def __init__(
        self,
        feed: Feed,
        timing: Timing,
        *,
        is_busy: Callable[[], bool],
        now_ms: Callable[[], int],
        steady_s: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        self._feed, self._timing, self._is_busy = feed, timing, is_busy
        self._now_ms, self._steady_s, self._sleep = now_ms, steady_s, sleep
        self._silences = 0

    def reassure(self) -> None:
        """A tick has come: silence is suspicious again."""
        self._silences = 0

    async def watch(self, line: Line) -> None:
        """Close ``line`` with a verdict, when it has deserved one."""
        while line.verdict is None and line.fatal is None:
            await self._sleep(self._timing.watch_every_s)
            if self._is_busy() or line.fatal is not None:
                continue
            now_s = self._steady_s()
            if not self._feed.is_open(self._now_ms()):
                line.frame_s = now_s
            patience_s = self._feed.capabilities.silence_s
            if not self._feed.capabilities.heartbeat:
                patience_s *= min(2**self._silences, _LONGEST_PATIENCE)
            if now_s - line.frame_s >= patience_s:
                # Perhaps its symbols are just not traded: wait longer the next time, until a tick comes.
                self._silences += 1
                line.verdict = "silent"
            elif line.unconfirmed and now_s - line.asked_s >= self._timing.confirm_within_s:
                line.verdict = "subscription not confirmed"
            elif now_s - line.alive_s >= self._timing.ping_after_s and not await self._answers(line):
                line.verdict = "unresponsive"
        await line.socket.close()

    async def _answers(self, line: Line) -> bool:
        """Whether a pong, a frame or the connection's own end comes in time."""
        frames = line.frames
        try:
            pong = asyncio.ensure_future(await line.socket.ping())
        except ConnectionClosed:
            return True
        timer = asyncio.ensure_future(self._sleep(self._timing.pong_within_s))
        try:
            await asyncio.wait((pong, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if not pong.done():
            pong.cancel()
            return self._is_busy() or line.frames > frames
        if not pong.cancelled() and pong.exception() is None:
            line.alive_ms, line.alive_s = self._now_ms(), self._steady_s()
        return True
