"""How long a partition was not written to the topic ``candles``, and which fault it was for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

LIMITS_S = {"join": 3.0, "leave": 3.0, "kill": 12.0}
"""What an event may cost that has the system to itself, with the default timeouts."""

_BEFORE_MS = 1000
"""A silence may begin so long after the event that it is for: what was under way is still written."""
_AFTER_MS = 12_000
"""An event so long ago has nothing to do with it any more."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest silence that an event brought about; ``alone``: no other event came near it."""

    seconds: float
    partition: int
    alone: bool


def silences(events_ms: Sequence[int], writes_ms: Mapping[int, Sequence[int]], end_ms: int) -> list[Silence]:
    """For each event, of ascending times, the longest time without a write of any partition that it brought about.

    An event that fell into another's silence has brought about none.

    ``writes_ms``: the times of each partition's writes, ascending; a partition that has any is silent also from its
    last one to ``end_ms``, when the ticks end.
    """
    longest = [Silence(0.0, -1, alone=False) for _ in events_ms]
    for partition, times in writes_ms.items():
        for begin, end in pairwise([*(at for at in times if at < end_ms), end_ms]):
            which = _cause(events_ms, begin, end)
            if which is None or (end - begin) / 1000 <= longest[which].seconds:
                continue
            at = events_ms[which]
            near = [other for other in events_ms if at - _AFTER_MS < other < max(end, at) and other != at]
            longest[which] = Silence((end - begin) / 1000, partition, alone=not near)
    return longest


def _cause(events_ms: Sequence[int], begin: int, end: int) -> int | None:
    """The first event inside the silence or right before it, else the last one before that."""
    inside = [which for which, at in enumerate(events_ms) if begin - _BEFORE_MS <= at < end]
    before = [which for which, at in enumerate(events_ms) if begin - _AFTER_MS < at < begin]
    return inside[0] if inside else before[-1] if before else None
