from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stockstream.cli.ending import Ending


@contextmanager
def handled(number: signal.Signals, before: signal.Handlers) -> Iterator[None]:
    """A signal that is handled so before, and again afterwards as the test run has it."""
    was = signal.signal(number, before)
    try:
        yield
    finally:
        signal.signal(number, was)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_asks_for_the_end_and_makes_the_exit_code(number: signal.Signals) -> None:
    with handled(number, signal.SIG_DFL):
        ending = Ending()
        assert ending.code == 0
        os.kill(os.getpid(), number)
        await asyncio.wait_for(ending.asked.wait(), 10)
        assert ending.code == 128 + number
        _forget()


async def test_a_closed_terminal_is_nothing_to_what_runs_under_nohup() -> None:
    with handled(signal.SIGHUP, signal.SIG_IGN):
        Ending()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        _forget()


def _forget() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(number)
