"""Asks a venue, again and again, for what it does not stream."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from stockstream.errors import RequestFailed
from stockstream.models import Tick
from stockstream.sources.contract import Poll
from stockstream.sources.limits import Sleep
from stockstream.sources.status import Status

log = logging.getLogger(__name__)

_LONGEST_S = 60.0
_FATAL_S = 300.0


class Poller:
    """Runs one `Poll` for the symbols of ``status``, which says in ``poll`` what is wrong with it, if anything is."""

    def __init__(
        self,
        poll: Poll,
        status: Status,
        emit: Callable[[Sequence[Tick]], Awaitable[None]],
        now_ms: Callable[[], int],
        sleep: Sleep,
    ) -> None:
        self._poll, self._status, self._emit = poll, status, emit
        self._now_ms, self._sleep = now_ms, sleep

    async def run(self, name: str) -> None:
        """Ask until cancelled; failures only make it ask less often."""
        failures = 0
        while True:
            wait_s = self._poll.every_s
            try:
                if symbols := list(self._status.symbols):
                    await self._emit(await self._poll.ticks(symbols, self._now_ms))
                failures, self._status.poll = 0, ""
            except RequestFailed as error:
                failures += 1
                wait_s = min(wait_s * 2.0**failures, _LONGEST_S)
                if error.is_fatal:
                    wait_s = _FATAL_S
                wait_s = error.retry_after_s or wait_s
                if str(error) != self._status.poll:
                    log.warning("%s: %s; asking again in %.0f s", name, error, wait_s)
                self._status.poll = str(error)
            await self._sleep(wait_s)
