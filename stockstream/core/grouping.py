"""Entries of arrays brought together by keys, keeping their order inside of each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stockstream.core.columns import Bools, Ints

_WIDEST_BITS = 63


@dataclass(frozen=True, slots=True)
class Groups:
    """``order``: indices into the columns, group by group; group ``i`` is ``order[starts[i]:ends[i]]``.

    ``places``: the same as indices into what was chosen of the columns.
    """

    order: Ints
    places: Ints
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
    bits = [int(key.max()).bit_length() for key in keys]
    place_bits = count.bit_length()
    if sum(bits) + place_bits < _WIDEST_BITS:
        # One sort of plain numbers: the keys in front, the place behind, which keeps the order of the log.
        packed = np.zeros(count, np.int64)
        for key, width in zip(keys, bits, strict=True):
            packed = packed << width | key
        packed = np.sort(packed << place_bits | np.arange(count))
        place = packed & ((1 << place_bits) - 1)
        group = packed >> place_bits
        changes = group[1:] != group[:-1]
    else:
        place = np.lexsort(keys[::-1])
        changes = np.zeros(count - 1, np.bool_)
        for key in keys:
            changes |= key[place][1:] != key[place][:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return Groups(chosen[place], place, starts, np.append(starts[1:], count))
