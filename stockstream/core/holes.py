"""Sets of holes in time, as sorted bounds: from, until, from, until, … epoch ms, of holes that do not touch."""

from __future__ import annotations

MOST = 128
"""Holes that a set tells apart; with more of them the nearest two become one, and so does what lies between."""


def add(bounds: list[int], from_ms: int, until_ms: int) -> list[int]:
    """The set with one more hole."""
    merged: list[int] = []
    for low, high in sorted([(from_ms, until_ms), *pairs(bounds)]):
        if merged and low <= merged[-1]:
            merged[-1] = max(merged[-1], high)
        else:
            merged += (low, high)
    if len(merged) > 2 * MOST:
        nearest = min(range(1, len(merged) - 1, 2), key=lambda at: merged[at + 1] - merged[at])
        del merged[nearest : nearest + 2]
    return merged


def cut(bounds: list[int], from_ms: int, until_ms: int) -> list[int]:
    """What is left of the set outside of ``[from_ms, until_ms]``."""
    left: list[int] = []
    for low, high in pairs(bounds):
        if high < from_ms or low > until_ms:
            left += (low, high)
            continue
        if low < from_ms:
            left += (low, from_ms)
        if high > until_ms:
            left += (until_ms, high)
    return left


def pairs(bounds: list[int]) -> list[tuple[int, int]]:
    """The holes, each as (from, until)."""
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def reaching(bounds: list[int], opens_ms: int) -> list[int]:
    """Those that go on after ``opens_ms``, or begin there."""
    return [edge for hole in pairs(bounds) if hole[1] > opens_ms or hole[0] >= opens_ms for edge in hole]


def touches(bounds: list[int], opens_ms: int, closes_ms: int) -> bool:
    """Whether a hole reaches into ``[opens_ms, closes_ms)``."""
    return any(low < closes_ms and (high > opens_ms or low >= opens_ms) for low, high in pairs(bounds))
