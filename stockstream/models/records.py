"""The records of a topic's partition as places in one buffer, without an object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """Records in the order of their log; every array has one entry a record.

    Key and value of record ``i`` are ``data[key_begin[i]:key_end[i]]`` and ``data[value_begin[i]:value_end[i]]``;
    where there is none, begin and end are -1.
    """

    data: bytes
    offsets: Places
    key_begin: Places
    key_end: Places
    value_begin: Places
    value_end: Places

    def __len__(self) -> int:
        return len(self.offsets)

    def key(self, index: int) -> bytes | None:
        """The key of one record."""
        begin = self.key_begin[index]
        return None if begin < 0 else self.data[begin : self.key_end[index]]

    def value(self, index: int) -> bytes | None:
        """The value of one record."""
        begin = self.value_begin[index]
        return None if begin < 0 else self.data[begin : self.value_end[index]]

    def offset(self, index: int) -> int:
        """The offset of one record."""
        return int(self.offsets[index])

    def at(self, places: Sequence[int]) -> Iterator[tuple[bytes | None, bytes | None, int]]:
        """Key, value and offset of the records at ``places``."""
        data, chosen = self.data, slice(None) if len(places) == len(self) else list(places)
        columns = (self.key_begin, self.key_end, self.value_begin, self.value_end, self.offsets)
        for key, key_end, value, value_end, offset in zip(*(each[chosen].tolist() for each in columns), strict=True):
            yield None if key < 0 else data[key:key_end], None if value < 0 else data[value:value_end], offset

    def beginnings(self, size: int) -> set[bytes]:
        """What the values begin with: up to ``size`` bytes of each, none of one that is not there."""
        data, places = self.data, zip(self.value_begin.tolist(), self.value_end.tolist(), strict=True)
        return {data[begin : min(begin + size, end)] for begin, end in places}

    def part(self, begin: int, end: int) -> Self:
        """The records from ``begin`` up to and without ``end``; the bytes are shared."""
        if begin == 0 and end == len(self):
            return self
        return type(self)(
            self.data,
            self.offsets[begin:end],
            self.key_begin[begin:end],
            self.key_end[begin:end],
            self.value_begin[begin:end],
            self.value_end[begin:end],
        )

    def only(self, rows: Places) -> Self:
        """The records at ``rows``, with a copy of their own bytes and no others."""
        keys, values = (self.key_begin[rows], self.key_end[rows]), (self.value_begin[rows], self.value_end[rows])
        begin = np.where(keys[0] < 0, values[0], keys[0])  # a value, where there is one, lies behind its key
        sizes = np.where(values[1] < 0, keys[1], values[1]) - begin
        moved = np.cumsum(sizes) - sizes - begin
        copied = np.arange(int(sizes.sum())) - np.repeat(moved, sizes)
        data = np.frombuffer(self.data, np.uint8)[copied].tobytes()
        places = [np.where(place < 0, -1, place + moved) for place in (*keys, *values)]
        return type(self)(data, self.offsets[rows], *places)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All records of ``parts``, at least one, in their order."""
        begins = np.cumsum([0, *(len(part.data) for part in parts)])[:-1].tolist()
        places = [
            np.concatenate([np.where(place < 0, -1, place + begin) for place, begin in zip(same, begins, strict=True)])
            for same in zip(
                *((part.key_begin, part.key_end, part.value_begin, part.value_end) for part in parts), strict=True
            )
        ]
        data, offsets = b"".join(part.data for part in parts), np.concatenate([part.offsets for part in parts])
        return cls(data, offsets, *places)

    def pairs(self, begin: int = 0) -> Iterator[tuple[bytes, bytes | None]]:
        """Key and value of each record that has a key, from the one at index ``begin`` on."""
        data = self.data
        places = (self.key_begin, self.key_end, self.value_begin, self.value_end)
        for key, key_end, value, value_end in zip(*(each[begin:].tolist() for each in places), strict=True):
            if key >= 0:
                yield data[key:key_end], None if value < 0 else data[value:value_end]

    @classmethod
    def of(cls, records: Sequence[Any]) -> Self:
        """The same of objects that have a ``key``, ``value`` (bytes or None) and ``offset`` each."""
        data = bytearray()
        places: list[int] = []
        for record in records:
            for part in (record.key, record.value):
                if part is None:
                    places += (-1, -1)
                else:
                    places += (len(data), len(data) + len(part))
                    data += part
        key_begin, key_end, value_begin, value_end = np.array(places, np.int64).reshape(-1, 4).T
        offsets = np.fromiter((record.offset for record in records), np.int64, len(records))
        return cls(bytes(data), offsets, key_begin, key_end, value_begin, value_end)
