"""The fields of many Avro records at once: each step reads one field of every record.

A record that is not as the step expects is marked as bad and is never unmarked; what is read of it is meaningless.
Reading never leaves the buffer: beyond it there are zeros.
"""

from __future__ import annotations

from functools import reduce
from typing import Self

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WORD_BYTES = 8
FIRST_BYTE = np.uint64(0xFF)
_WINDOW_BYTES = 80  # copying them costs hardly more than copying a word
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_LOW_BITS = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_ONE = np.uint64(1)
_NINTH = np.uint64(56)
_PRESENT = np.uint8(2)
_CONTINUED = np.uint8(0x80)
_NEGATIVE = np.uint8(1)
_ONE_BYTE = np.uint8(1)
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


def kept(size: Ints | int, before: int) -> Words:
    """The masks of the words that begin ``before`` bytes into texts of ``size`` bytes."""
    return _KEPT.take(size - before, mode="clip")


class Buffer:
    """Bytes of which windows can be taken at many places at once."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _WINDOW_BYTES:
            data += bytes(_WINDOW_BYTES)
        self._windows = _windows(data)
        self._last = len(self._windows) - 1
        # Behind the last whole window there are places that can be read too, from a copy with zeros after its end.
        self._last_windows = _windows(data[self._last :] + bytes(_WINDOW_BYTES))

    def windows(self, pos: Ints) -> Bytes:
        """The bytes that follow each place, a row each; those of -1 mean nothing, and behind the end are zeros."""
        rows = self._windows[np.minimum(pos, self._last)]
        (late,) = np.nonzero(pos > self._last)
        if late.size:
            rows[late] = self._last_windows[np.minimum(pos[late] - self._last, _WINDOW_BYTES)]
        return rows.view(np.uint8).reshape(-1, _WINDOW_BYTES)


def _windows(data: bytes) -> NDArray[np.void]:
    """The window that begins at each byte: a view, not a copy."""
    return np.ndarray((len(data) - _WINDOW_BYTES + 1,), f"V{_WINDOW_BYTES}", data, strides=(1,))


class Walk:
    """Stands at a place in every record; ``bad`` are those that it cannot read."""

    def __init__(self, buffer: Buffer, pos: Ints) -> None:
        self.bad: Mask = np.zeros(len(pos), np.bool_)
        self._buffer = buffer
        self._stand(pos)

    def _stand(self, pos: Ints) -> None:
        # Where fields have the same size in all records, it is the offset that grows, and the windows are kept.
        self._begin = pos
        self._offset = 0
        self._window: Bytes | None = None

    @property
    def pos(self) -> Ints:
        """Where it stands."""
        return self._begin + self._offset

    def of(self, rows: Ints) -> Self:
        """The walk of some of the records."""
        walk = type(self)(self._buffer, self._begin[rows] + self._offset)
        walk.bad = self.bad[rows]
        return walk

    def put(self, rows: Ints, some: Walk) -> None:
        """Go on where ``some``, the walk of ``rows``, has come to."""
        pos = self.pos
        pos[rows] = some.pos
        self.bad[rows] = some.bad
        self._stand(pos)

    def skip(self, count: int) -> None:
        """So many bytes."""
        self._offset += count

    def advance(self, sizes: Ints) -> None:
        """So many bytes each."""
        if sizes.size and (sizes == sizes[0]).all():
            self.skip(int(sizes[0]))
        else:
            self._stand(self.pos + sizes)

    def _seen(self, size: int) -> Bytes:
        """The next bytes, a row each."""
        if self._window is None or self._offset + size > _WINDOW_BYTES:
            self._stand(self.pos)
            self._window = self._buffer.windows(self._begin)
        return self._window[:, self._offset : self._offset + size]

    def _byte(self) -> Bytes:
        return self._seen(1)[:, 0]

    def word(self, ahead: int = 0) -> Words:
        """The eight bytes ``ahead`` of where it stands, little-endian; it stays."""
        return self._seen(ahead + WORD_BYTES)[:, ahead:].view("<u8").ravel()

    def double(self) -> Floats:
        """A number of eight bytes."""
        number = self.word().view(np.float64)
        self.skip(WORD_BYTES)
        return number

    def branch(self) -> Mask | None:
        """Of which records a value follows, of a field that may be null; None if of none."""
        byte = self._byte()
        self.skip(1)
        if not byte.any():
            return None
        self.bad |= (byte | _PRESENT) != _PRESENT
        present: Mask = byte != 0
        return present

    def bool(self) -> Mask:
        """A byte that is one or zero."""
        byte = self._byte()
        self.bad |= byte > _ONE_BYTE
        self.skip(1)
        return byte.astype(np.bool_)

    def long(self) -> Ints:
        """An integer of up to nine bytes."""
        byte = self._byte()
        if not (byte & _CONTINUED).any():
            self.skip(1)
            return _signed(byte.astype(np.uint64))
        word = self.word()
        ends = ~word & _HIGH_BITS
        within = ends ^ (ends - _ONE)  # all bits up to the first byte that says that none follows
        sizes = np.bitwise_count(within).astype(np.int64) >> 3
        number = word & within
        number &= _LOW_BITS
        for low, high, shift in _SQUEEZES:
            upper = number & high
            upper >>= shift
            number &= low
            number |= upper
        if not ends.all():
            (longer,) = np.nonzero(ends == 0)
            ninth = self.word(1)[longer] >> _NINTH
            number[longer] |= ninth << _NINTH
            sizes[longer] += 1
            self.bad[longer] |= ninth >= _CONTINUED
        self.advance(sizes)
        return _signed(number)

    def text(self, most: int = 8) -> tuple[list[Words], Ints]:
        """A text that fits into ``most`` words with the byte of its length before it: those words, and its size.

        As many words are given as the longest needs; behind the end of a text they are zero. The size counts the byte
        of the length.
        """
        byte = self._byte()
        sizes = (byte.astype(np.int64) >> 1) + 1
        longest = int(sizes.max(initial=1))  # and longer than any text if another byte of the length follows
        if longest > most * WORD_BYTES or (byte & _NEGATIVE).any():
            wrong = (sizes > most * WORD_BYTES) | (byte & _NEGATIVE != 0)
            self.bad |= wrong
            sizes[wrong] = 1
            longest = int(sizes.max(initial=1))
        size = longest if (sizes == longest).all() else sizes
        words = [self.word(before) & kept(size, before) for before in range(0, longest, WORD_BYTES)]
        if isinstance(size, int):
            self.skip(size)
        else:
            self._stand(self.pos + size)
        return words, sizes

    def texts(self) -> bytes:
        """Texts of up to 63 bytes, each behind a byte that says how many it has, one after the other."""
        byte = self._byte()
        wrong = byte & (_NEGATIVE | _CONTINUED) != 0
        self.bad |= wrong
        sizes = np.where(wrong, 0, byte >> 1).astype(np.int64) + 1
        longest = int(sizes.max(initial=1))
        seen = self._seen(longest).copy()
        seen[:, 0] = sizes - 1
        data = seen.tobytes() if (sizes == longest).all() else seen[np.arange(longest) < sizes[:, None]].tobytes()
        self.advance(sizes)
        return data

    def ascii(self) -> None:
        """A text of up to 63 bytes that is left unread; one that is not ASCII is bad."""
        words, _ = self.text()
        high = reduce(np.bitwise_or, words) & _HIGH_BITS
        if high.any():
            self.bad |= high != 0


def _signed(number: Words) -> Ints:
    """The zigzag encoding undone."""
    negative = (number & _ONE).view(np.int64)
    np.negative(negative, out=negative)
    number >>= _ONE
    negative ^= number.view(np.int64)
    return negative
