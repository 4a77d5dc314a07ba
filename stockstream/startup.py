"""What a worker makes sure of before it runs, and how it ends when it cannot: with one line and an exit code."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, NoReturn

from stockstream.core.backoff import full_jitter
from stockstream.errors import StockstreamError, Unreachable

log = logging.getLogger(__name__)

INTERRUPTED = 130
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
# A fetch makes tens of thousands of objects and lets go of them, none in a cycle: at Python's own thresholds it is
# searched dozens of times, and all that lives besides it again and again.
_COLLECT_AFTER = (100_000, 20, 50)
_FIRST_DELAY_S = 0.5
_GREATEST_DELAY_S = 5.0


def end(error: StockstreamError) -> NoReturn:
    """Leave at once with one line: what is not committed is read again at the next start."""
    logging.shutdown()
    # sys.stderr may have been turned into a logger
    print(f"stockstream: {' '.join(str(error).split())}", file=sys.__stderr__, flush=True)
    os._exit(error.exit_code)


def leave(code: str | int | None) -> NoReturn:
    """End a process whose work is done, as `SystemExit` with this code would, without taking Python apart first.

    Threads of libraries may still be in compiled code then: one worker in hundreds ended with a segmentation fault.
    """
    if isinstance(code, str):
        print(code, file=sys.__stderr__)
    logging.shutdown()
    for stream in (sys.stdout, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(1 if isinstance(code, str) else code or 0)


def collect_seldom() -> None:
    """Have garbage in cycles looked for seldom, and never again in what has been loaded so far."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def take_turns_often() -> None:
    """Have a thread that computes let another one go on within half a millisecond, not within five.

    The fetches' thread computes little, and whatever it waits for, the next ticks wait for too.
    """
    sys.setswitchinterval(0.0005)


def leave_on_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Until the worker puts its own handlers in their place, SIGTERM and SIGINT end a process that has done nothing."""
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        loop.add_signal_handler(number, _leave, number, code)


def _leave(number: signal.Signals, code: int) -> NoReturn:
    log.info("%s before the start was done; ticks: none", number.name)
    logging.shutdown()
    os._exit(code)


def claim(folder: Path, setting: str = "STOCKSTREAM_DATA_DIR") -> IO[str]:
    """Make the data folder and lock it for this process; the lock holds while the answer is open.

    Raises `StockstreamError`, which names the ``setting``, if it cannot be written or belongs to another process.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        lock = (folder / ".lock").open("a")
    except OSError as error:
        advice = "make room on its disk" if error.errno in _NO_ROOM else "change its owner"
        raise StockstreamError(
            f"the data folder {folder} cannot be written ({error.strerror}): {advice}, or set {setting} to another"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StockstreamError(
            f"another worker runs on the data folder {folder}: end it, or set {setting} to a folder of its own"
        ) from error
    except OSError as error:
        lock.close()
        raise StockstreamError(
            f"the data folder {folder} cannot be locked ({error.strerror}): set {setting} to a local disk"
        ) from error
    return lock


async def check_port(host: str, port: int, setting: str = "STOCKSTREAM_WEB_PORT") -> None:
    """Raise `StockstreamError`, which names the ``setting``, if nobody can listen there now."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            told = f"port {port} of {host} is taken: end who holds it, or set {setting} to a free one"
        elif error.errno == errno.EACCES:
            told = f"port {port} of {host} is not for this user: set {setting} to one above 1023"
        else:
            told = f"{host} is no address to listen on ({error.strerror}): set STOCKSTREAM_WEB_HOST to one of this host"
        raise StockstreamError(told) from error
    server.close()
    await server.wait_closed()


async def patiently(steps: Sequence[Callable[[], Awaitable[None]]], timeout_s: float) -> None:
    """Do ``steps``, each until it raises no `Unreachable`, all within ``timeout_s``; what is wrong is told once."""
    give_up = time.monotonic() + timeout_s
    told = ""
    for step in steps:
        for delay_s in full_jitter(_FIRST_DELAY_S, _GREATEST_DELAY_S, random.Random()):  # noqa: S311 - no secret
            try:
                await step()
                break
            except Unreachable as error:
                left_s = give_up - time.monotonic()
                if left_s <= 0:
                    raise type(error)(f"{error}; gave up after STOCKSTREAM_START_TIMEOUT_S={timeout_s:g}") from error
                if str(error) != told:
                    told = str(error)
                    log.error("%s; trying again for up to %.0f s", told, left_s)
            await asyncio.sleep(min(delay_s, left_s))
