"""Runs first in a worker whose PYTHONPATH names this folder: its wall clock is the market's, and it is impatient.

``MARKET_SHIFT`` names a file with the seconds by which the market's time differs from the machine's, a double that may
change at any time; ``MARKET_SILENCE_S`` is after how long a silent connection counts as dead.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import replace

_machines_time = time.time
with open(os.environ["MARKET_SHIFT"], "rb") as _file:
    _shift = mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ)


def _markets_time() -> float:
    return _machines_time() + float(struct.unpack_from("<d", _shift)[0])


time.time = _markets_time

from stockstream.sources.yahoo.feed import YahooFeed  # noqa: E402 - only now, with the right time

YahooFeed.capabilities = replace(YahooFeed.capabilities, silence_s=float(os.environ["MARKET_SILENCE_S"]))
