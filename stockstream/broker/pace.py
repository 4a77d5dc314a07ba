"""How long brokers gather ticks before they answer a fetch: a tick's latency against the work that a fetch is.

A fetch costs a worker a millisecond or more of processor time, however few ticks it brings, and while that is under way
the next ticks wait. So even who wants candles soon is served sooner where a fetch brings what came within a few
milliseconds, of all partitions. Gathering is left to the brokers, which hold an answer back until it is worth sending:
the client need not wake up for that.
"""

from __future__ import annotations

from dataclasses import dataclass

GATHERED_BYTES = 131_072
"""An answer of so much is worth sending at once, so that a backlog is read at full speed: less than what one fetch may
bring of one partition, for the last partition that lags may be the only one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """An answer is sent when it has ``min_bytes``, or ``max_wait_ms`` after it was asked for."""

    min_bytes: int
    max_wait_ms: int


AT_ONCE = Pace(1, 50)
"""For who has nothing to gather: the first tick after a rest is answered with at once. An idle partition's question
holds up those asked after it, of the same broker, for no more than the wait."""

_WAITS_MS = {"low": 5, "thrifty": 85}


def pace_of(latency_budget: str | int, partition_fetch_bytes: int) -> Pace:
    """The pace of ``low``, ``thrifty``, or a number of ms that a tick may wait for others."""
    wait_ms = _WAITS_MS[latency_budget] if isinstance(latency_budget, str) else latency_budget
    return Pace(min(GATHERED_BYTES, partition_fetch_bytes), wait_ms)
