"""The fields of many Avro records at once: each step reads one field of every record.

A record that is not as the step expects is marked as bad and is never unmarked; what is read of it is meaningless.
Reading never leaves the buffer: a place beyond it is read as if it were at its end.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WORD_BYTES = 8
SLACK_BYTES = WORD_BYTES
"""So many bytes must follow the last record, for its last byte to be read as the first of a word."""

FIRST_BYTE = np.uint64(0xFF)
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_LOW_BITS = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_ONE = np.uint64(1)
_NINTH = np.uint64(56)
_PRESENT = np.uint64(2)
_NOT_SHORT = 0x81  # of a text's length: its sign, or the sign that another byte follows
# Seven bits of every byte become 14 of every two, 28 of every four, 56 of eight.
_SQUEEZES = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F_007F_007F_007F, 0x7F00_7F00_7F00_7F00, 1),
        (0x0000_3FFF_0000_3FFF, 0x3FFF_0000_3FFF_0000, 2),
        (0x0000_0000_0FFF_FFFF, 0x0FFF_FFFF_0000_0000, 4),
    )
)
_KEPT = np.array([(1 << 8 * size) - 1 for size in range(WORD_BYTES + 1)], np.uint64)
"""By a number of bytes: the mask that keeps so many of a word."""


def kept(size: Ints, before: int) -> Words:
    """The masks of the words that begin ``before`` bytes into texts of ``size`` bytes."""
    return _KEPT[np.clip(size - before, 0, WORD_BYTES)]


def words_of(data: bytes) -> Words:
    """The word of eight bytes, little-endian, that begins at each byte of ``data``: a view, not a copy."""
    return np.ndarray((max(len(data) - WORD_BYTES + 1, 0),), "<u8", data, strides=(1,))


class Walk:
    """Stands at ``pos`` of every record; ``bad`` are those that it cannot read."""

    def __init__(self, words: Words, pos: Ints, bad: Mask) -> None:
        self._words = words
        self._last = len(words) - 1
        self.pos = pos
        self.bad = bad

    def of(self, rows: Ints) -> Self:
        """The walk of some of the records."""
        return type(self)(self._words, self.pos[rows], self.bad[rows])

    def word(self, ahead: int = 0) -> Words:
        """The eight bytes ``ahead`` of where it stands; it stays."""
        return self._words[np.minimum(self.pos + ahead, self._last)]

    def put(self, rows: Ints, some: Walk) -> None:
        """Go on where ``some``, the walk of ``rows``, has come to."""
        self.pos[rows] = some.pos
        self.bad[rows] = some.bad

    def skip(self, count: int) -> None:
        """So many bytes."""
        self.pos = self.pos + count

    def double(self) -> Floats:
        """A number of eight bytes."""
        number = self.word().view(np.float64)
        self.skip(WORD_BYTES)
        return number

    def branch(self) -> Mask:
        """Whether a value follows, of a field that may be null."""
        byte = self.word() & FIRST_BYTE
        self.bad |= (byte & ~_PRESENT) != 0
        self.skip(1)
        present: Mask = byte != 0
        return present

    def long(self) -> Ints:
        """An integer of up to nine bytes."""
        word = self.word()
        if not (word & np.uint64(0x80)).any():
            self.skip(1)
            return _signed(word & FIRST_BYTE)
        ends = ~word & _HIGH_BITS
        within = ends ^ (ends - _ONE)  # all bits up to the first byte that says that none follows
        size = np.bitwise_count(within).astype(np.int64) >> 3
        number = word & within & _LOW_BITS
        for low, high, shift in _SQUEEZES:
            number = number & low | (number & high) >> shift
        (longer,) = np.nonzero(ends == 0)
        if longer.size:
            ninth = self._words[np.minimum(self.pos[longer] + WORD_BYTES, self._last)] & FIRST_BYTE
            number[longer] |= ninth << _NINTH
            size[longer] = WORD_BYTES + 1
            self.bad[longer] |= ninth >= 0x80
        self.pos = self.pos + size
        return _signed(number)

    def text(self, most: int = 8) -> tuple[list[Words], Ints]:
        """A text that fits into ``most`` words with the byte of its length before it: those words, and its size.

        As many words are given as the longest needs; behind the end of a text they are zero. The size counts the byte
        of the length.
        """
        first = self.word()
        doubled = (first & FIRST_BYTE).view(np.int64)
        self.bad |= (doubled & _NOT_SHORT) != 0
        size = (doubled >> 1) + 1
        self.bad |= size > most * WORD_BYTES
        size[self.bad] = 1
        words = [first & kept(size, 0)]
        for before in range(WORD_BYTES, int(size.max(initial=0)), WORD_BYTES):
            words.append(self.word(before) & kept(size, before))
        self.pos = self.pos + size
        return words, size

    def ascii(self) -> None:
        """A text of up to 63 bytes that is left unread; one that is not ASCII is bad."""
        words, _ = self.text()
        for word in words:
            self.bad |= (word & _HIGH_BITS) != 0


def _signed(number: Words) -> Ints:
    """The zigzag encoding undone."""
    return (number >> _ONE).view(np.int64) ^ -(number & _ONE).view(np.int64)
