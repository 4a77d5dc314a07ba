"""Ctrl+C and SIGTERM, for commands that finish what they have begun."""

from __future__ import annotations

import asyncio
import signal


class Ending:
    """From its making in a running loop on, a signal sets ``asked`` instead of ending the process.

    ``code`` is the exit code then, 128 and the signal's number; 0 before.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.code = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)

    def _take(self, number: signal.Signals) -> None:
        self.code = 128 + number
        self.asked.set()
