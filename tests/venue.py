"""The fake Yahoo as a process of its own, as a worker's venue."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Venue:
    url: str
    symbols: list[str]


@contextmanager
def open_venue(symbols: int, trades_per_s: int) -> Iterator[Venue]:
    """A venue that never closes."""
    command = [sys.executable, "-m", "stockstream.sources.yahoo.fake", "--symbols", str(symbols), "--always-open"]
    process = subprocess.Popen([*command, "--trades-per-s", str(trades_per_s)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Venue(process.stdout.readline().strip(), process.stdout.readline().strip().split(","))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
