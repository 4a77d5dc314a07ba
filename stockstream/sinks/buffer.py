"""Rows that wait for the sink, at most one a key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Set
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from stockstream.models import Candle
from stockstream.sinks.contract import ArchivedTick

Partition = tuple[str, int]
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# A decoded record with its Python objects, beyond the bytes it came in; measured with tracemalloc, rounded up.
_OBJECT_BYTES = 1_200


class Record(Protocol):
    """A message as a Kafka client delivers it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class SingleRecord:
    """A `Record` that came together with others."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def partition_of(record: Record) -> Partition:
    """The (topic, partition) a record was read from."""
    return (record.topic, record.partition)


@dataclass(slots=True)
class Row(Generic[T]):
    """One row to insert, and the record it came in, for ``dead-letters``."""

    item: T
    record: Record

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return _OBJECT_BYTES + len(self.record.key or b"") + len(self.record.value or b"")


class RowBuffer(ABC, Generic[K, T]):
    """Rows by key in order of arrival, at most one a key."""

    def __init__(self) -> None:
        self._rows: dict[K, Row[T]] = {}
        self.size_bytes = 0

    @abstractmethod
    def key(self, item: T) -> K:
        """What two rows have in common if one replaces the other."""

    @abstractmethod
    def supersedes(self, item: T, held: T) -> bool:
        """Whether ``item`` replaces ``held``, which has the same key and came earlier."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Row[T]) -> None:
        """Hold the row unless a better one with its key is held."""
        key = self.key(row.item)
        held = self._rows.get(key)
        if held is not None:
            if not self.supersedes(row.item, held.item):
                return
            self.size_bytes -= held.size_bytes
        self._rows[key] = row
        self.size_bytes += row.size_bytes

    def take(self) -> list[Row[T]]:
        """Every row, oldest first; none is held afterwards."""
        rows = list(self._rows.values())
        self._rows.clear()
        self.size_bytes = 0
        return rows

    def restore(self, rows: Iterable[Row[T]]) -> None:
        """Put rows back that were taken, ahead of those that came since."""
        newer = self.take()
        for row in (*rows, *newer):
            self.add(row)

    def forget(self, partitions: Set[Partition]) -> None:
        """Drop the rows that were read from these partitions."""
        for row in self.take():
            if partition_of(row.record) not in partitions:
                self.add(row)


class CandleBuffer(RowBuffer[tuple[str, str, str, int], Candle]):
    """The greatest version of each candle: an outage costs as many rows as candles changed, not as changes."""

    def key(self, item: Candle) -> tuple[str, str, str, int]:
        """The candle's own key."""
        return item.key

    def supersedes(self, item: Candle, held: Candle) -> bool:
        """The greater version counts, whatever came first."""
        return item.version >= held.version


class TickBuffer(RowBuffer[tuple[str, int, int], ArchivedTick]):
    """Every tick once, by its place in Kafka."""

    def key(self, item: ArchivedTick) -> tuple[str, int, int]:
        """(topic, partition, offset)."""
        return (item.topic, item.partition, item.offset)

    def supersedes(self, item: ArchivedTick, held: ArchivedTick) -> bool:
        """A tick delivered again is the same tick."""
        return True
