"""Entries of arrays brought together by keys, keeping their order inside of each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stockstream.core.columns import Bools, Ints

_WIDEST = 1 << 62


@dataclass(frozen=True, slots=True)
class Groups:
    """``order``: indices into the columns, group by group; group ``i`` is ``order[starts[i]:ends[i]]``."""

    order: Ints
    starts: Ints
    ends: Ints

    def same(self) -> Bools:
        """For each but the first in ``order``, whether it is of the same group as the one before."""
        same = np.ones(len(self.order), np.bool_)
        same[self.starts] = False
        return same[1:]

    def any(self, flags: Bools) -> Bools:
        """Which groups have a flag in them; ``flags`` are in the order of ``order``."""
        return np.logical_or.reduceat(flags, self.starts)


def grouped(chosen: Ints, *keys: Ints) -> Groups:
    """Ascending indices ``chosen``, brought together where all ``keys`` (one entry each, not negative) are equal."""
    count = len(chosen)
    widths = [int(key.max()) + 1 for key in keys]
    room = count
    for width in widths:
        room *= width
    if room < _WIDEST:
        # One sort of plain numbers: the keys in front, the place behind, which keeps the order of the log.
        packed = np.zeros(count, np.int64)
        for key, width in zip(keys, widths, strict=True):
            packed = packed * width + key
        packed = np.sort(packed * count + np.arange(count))
        group, place = np.divmod(packed, count)
        changes = group[1:] != group[:-1]
    else:
        place = np.lexsort(keys[::-1])
        changes = np.zeros(count - 1, np.bool_)
        for key in keys:
            changes |= key[place][1:] != key[place][:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return Groups(chosen[place], starts, np.append(starts[1:], count))
