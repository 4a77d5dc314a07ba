"""A histogram of delays that costs next to nothing to fill."""

from __future__ import annotations

from bisect import bisect_left

_BOUNDS_MS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 75),
    *(100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 60_000),
)


class Latency:
    """Counts delays in buckets that are narrow where it matters; what is beyond the last counts as endless."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_MS) + 1)

    def add(self, delay_s: float, count: int = 1) -> None:
        """``count`` records took this long."""
        self.counts[bisect_left(_BOUNDS_MS, delay_s * 1000)] += count

    def percentile_ms(self, percent: float) -> float | None:
        """The upper bound of the bucket that the percentile lies in; None without any delay."""
        wanted = sum(self.counts) * percent / 100
        if not wanted:
            return None
        reached = 0
        for bound_ms, count in zip(_BOUNDS_MS, self.counts, strict=False):
            reached += count
            if reached >= wanted:
                return float(bound_ms)
        return float("inf")
