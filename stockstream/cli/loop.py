"""An event loop that wakes up less often than there is something to do.

To wake up costs tens of microseconds of processor time, more than to receive a tick and to send it on. Here the loop
rests for some milliseconds after each time that it woke up, and then does at once what has come together meanwhile: the
frames of all sockets, the answers of all brokers, the timers. Nothing that is to be done already waits for that, and
what comes after a rest is seen at once.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Events = list[tuple[selectors.SelectorKey, int]]


class _RestingSelector(selectors.DefaultSelector):
    """Lets at least ``rest_s`` go by between two times that it returns after having waited."""

    def __init__(self, rest_s: float) -> None:
        super().__init__()
        self._rest_s = rest_s
        self._woke_s = 0.0

    def select(self, timeout: float | None = None) -> Events:
        rest_s = self._woke_s + self._rest_s - time.monotonic()
        if rest_s > 0:
            if timeout is not None and timeout <= 0:
                return []  # there is something to do; whatever else has come waits
            if timeout is not None:
                rest_s = min(rest_s, timeout)
                timeout -= rest_s
            time.sleep(rest_s)
        events = super().select(timeout)
        self._woke_s = time.monotonic()
        return events


def resting_loop(rest_ms: float = 6.0) -> asyncio.AbstractEventLoop:
    """A loop, for a process that does nothing else, in which anything may take ``rest_ms`` longer."""
    return asyncio.SelectorEventLoop(_RestingSelector(rest_ms / 1000))
