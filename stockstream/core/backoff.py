"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def full_jitter(base_s: float, cap_s: float, rng: Random) -> Iterator[float]:
    """Endless delays in seconds: each uniform between 0 and a ceiling that doubles from ``base_s`` up to ``cap_s``.

    The whole range is random, so that clients that failed together do not come back together.
    """
    ceiling_s = min(base_s, cap_s)
    while True:
        yield rng.uniform(0.0, ceiling_s)
        ceiling_s = min(cap_s, ceiling_s * 2.0)
