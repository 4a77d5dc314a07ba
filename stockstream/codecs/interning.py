"""Texts to small numbers, many at once: equal texts have one number, and no hash is trusted for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from stockstream.codecs.walk import Ints, Mask, Words

T = TypeVar("T")

_MOST_VALUES = 1 << 17
_SLOT_BITS = 19  # four slots a value at the most: few probes
_MOST_PROBES = 16
_SHIFT = np.uint64(64 - _SLOT_BITS)
_HALF = np.uint64(32)
_FACTORS = tuple(np.uint64(0x9E37_79B9_7F4A_7C15 ** (2 * place + 1) % 2**64) for place in range(8))


class Interner(Generic[T]):
    """Numbers the distinct rows of words that it is shown, and keeps in ``values`` what ``read`` makes of each.

    Memory is only taken as they come, and there is room for so many; `make_room` begins anew where it was too little.
    """

    def __init__(self, width: int, read: Callable[[bytes], T]) -> None:
        self._width = width
        self._read = read
        self._forget()

    def _forget(self) -> None:
        self.values: list[T] = []
        self._lacks_room = False
        self._numbers: dict[bytes, int] = {}
        self._slots = np.zeros(1 << _SLOT_BITS, np.int32)  # a value's number + 1
        self._words = np.zeros((self._width, _MOST_VALUES), np.uint64)

    def make_room(self) -> None:
        """Forget all values, if there was no room for another: ``values`` is another list then."""
        if self._lacks_room:
            self._forget()

    def numbers(self, words: Sequence[Words], bad: Mask) -> Ints:
        """The number of each row; -1 for rows that are ``bad``, cannot be read, or for which there is no room.

        ``words`` are up to ``width`` columns; those that are not given are zero.
        """
        hashes = _hashes(words)
        numbers = self._known(words, hashes)
        numbers[bad] = -1
        (unknown,) = np.nonzero((numbers < 0) & ~bad)
        if unknown.size:
            numbers[unknown] = self._learn([column[unknown] for column in words], hashes[unknown])
        return numbers

    def _known(self, words: Sequence[Words], hashes: Words) -> Ints:
        slots = (hashes >> _SHIFT).view(np.int64)
        numbers = self._slots[slots].astype(np.int64) - 1
        wrong = self._differ(words, numbers)
        if not wrong.any():
            return numbers
        (rows,) = np.nonzero(wrong)
        for _ in range(_MOST_PROBES - 1):
            rows = rows[numbers[rows] >= 0]
            if not rows.size:
                break
            slots[rows] = (slots[rows] + 1) & ((1 << _SLOT_BITS) - 1)
            numbers[rows] = self._slots[slots[rows]].astype(np.int64) - 1
            rows = rows[self._differ([column[rows] for column in words], numbers[rows])]
        numbers[rows] = -1
        return numbers

    def _differ(self, words: Sequence[Words], numbers: Ints) -> Mask:
        """Whether the row is another than that of its number; of no number, -1, it is."""
        differ = numbers < 0
        for column, stored in zip(words, self._words, strict=False):
            differ |= stored[numbers] != column
        return differ

    def _learn(self, words: Sequence[Words], hashes: Words) -> list[int]:
        """The numbers of rows that were not found: they are new, or had no slot."""
        padding = [np.zeros_like(hashes)] * (self._width - len(words))
        rows = np.stack([*words, *padding], axis=1)
        size = rows.shape[1] * rows.itemsize
        data = rows.tobytes()
        found = []
        for place, begin in enumerate(range(0, len(data), size)):
            row = data[begin : begin + size]
            number = self._numbers.get(row)
            if number is None:
                number = self._add(row, int(hashes[place]))
            found.append(number)
        return found

    def _add(self, row: bytes, hashed: int) -> int:
        number = len(self.values)
        if number == _MOST_VALUES:
            self._lacks_room = True
            return -1
        try:
            value = self._read(row)
        except UnicodeDecodeError:
            return -1
        self.values.append(value)
        self._numbers[row] = number
        self._words[:, number] = np.frombuffer(row, np.uint64)
        slot = hashed >> int(_SHIFT)
        for _ in range(_MOST_PROBES):
            if self._slots[slot] == 0:
                self._slots[slot] = number + 1
                break
            slot = (slot + 1) & ((1 << _SLOT_BITS) - 1)
        return number


def _hashes(words: Sequence[Words]) -> Words:
    """The same whether or not columns of zeros follow, so that it does not depend on the other texts of a call."""
    hashes = np.zeros_like(words[0])
    for column, factor in zip(words, _FACTORS, strict=False):
        hashes += (column ^ column >> _HALF) * factor
    hashes ^= hashes >> _HALF
    return hashes * _FACTORS[0]
