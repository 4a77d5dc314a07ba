"""Rows as columns that wait for the sink."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, Generic, TypeVar

from stockstream.core.candle_columns import joined, newest
from stockstream.models.records import Records
from stockstream.sinks.buffer import Partition, SingleRecord
from stockstream.sinks.contract import Block, CandleBlock

B = TypeVar("B", bound=Block[Any])

_FEW_ROWS = 20_000  # are not worth being looked through before they are taken


class BlockBuffer(Generic[B]):
    """Blocks in order of arrival."""

    def __init__(self) -> None:
        self._blocks: list[B] = []
        self._rows = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        """How many rows they have."""
        return self._rows

    def add(self, block: B) -> None:
        """Hold a block."""
        self._blocks.append(block)
        self._rows += len(block)
        self.size_bytes += block.size_bytes

    def take(self) -> list[B]:
        """Every block, oldest first; none is held afterwards."""
        return self._replace([])

    def restore(self, blocks: Iterable[B]) -> None:
        """Put blocks back that were taken, ahead of those that came since."""
        self._replace([*blocks, *self._blocks])

    def forget(self, partitions: Set[Partition]) -> None:
        """Drop the blocks that were read from these partitions."""
        self._replace([block for block in self._blocks if block.place not in partitions])

    def _replace(self, blocks: list[B]) -> list[B]:
        """Hold these blocks; returns those that were held."""
        before, self._blocks = self._blocks, blocks
        self._rows = sum(map(len, blocks))
        self.size_bytes = sum(block.size_bytes for block in blocks)
        return before


class CandleBlockBuffer(BlockBuffer[CandleBlock]):
    """The greatest version of each candle: an outage costs as many rows as candles changed, not as changes."""

    def __init__(self) -> None:
        super().__init__()
        self._most_rows = _FEW_ROWS

    def add(self, block: CandleBlock) -> None:
        """Hold a block; whenever as many rows have come again as are worth keeping, the others are let go."""
        super().add(block)
        if len(self) > self._most_rows:
            self._replace(_merged(self._blocks))
            self._most_rows = max(_FEW_ROWS, 2 * len(self))

    def take(self) -> list[CandleBlock]:
        """The newest states, oldest first; none is held afterwards."""
        blocks = super().take()
        self._most_rows = _FEW_ROWS
        kept = zip(blocks, newest([block.columns for block in blocks]), strict=True)
        return [_only(block, mask) for block, mask in kept if mask.any()]


def record_of(block: Block[Any], index: int) -> SingleRecord:
    """The record that a row came in."""
    place, records = int(block.columns.place[index]), block.records
    offset = records.offset(place)
    return SingleRecord(block.topic, block.partition, offset, records.key(place), records.value(place))


def _only(block: CandleBlock, mask: Any) -> CandleBlock:
    return CandleBlock(block.topic, block.partition, block.columns.of(mask), block.records)


def _merged(blocks: list[CandleBlock]) -> list[CandleBlock]:
    """The newest states in one block a partition, without the bytes of others."""
    kept = newest([block.columns for block in blocks])
    groups: dict[object, list[CandleBlock]] = {}
    for block, mask in zip(blocks, kept, strict=True):
        groups.setdefault((block.place, id(block.columns.names)), []).append(_only(block, mask))
    merged = []
    for first, *others in groups.values():
        parts = [first, *others]
        records = Records.joined([part.records.only(part.columns.place) for part in parts])
        columns = joined([part.columns for part in parts])
        merged.append(CandleBlock(first.topic, first.partition, columns, records))
    return [block for block in merged if len(block)]
