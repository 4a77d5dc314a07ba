"""Ctrl+C, SIGTERM and a terminal that is closed, for commands that finish what they have begun."""

from __future__ import annotations

import asyncio
import signal


class Ending:
    """From its making in a running loop on, a signal sets ``asked`` instead of ending the process.

    ``code`` is the exit code then, 128 and the signal's number; 0 before. A SIGHUP that is ignored, as under nohup,
    stays so.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.code = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self.take, number)

    def take(self, number: signal.Signals) -> None:
        """End as that signal would have it."""
        self.code = 128 + number
        self.asked.set()
