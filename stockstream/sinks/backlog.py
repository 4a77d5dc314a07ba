"""What was read from Kafka and is not yet in the sink: rows, and the offsets that may be committed once it is.

No I/O and no clock: the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from stockstream.models import Candle
from stockstream.sinks.blocks import BlockBuffer, CandleBlockBuffer
from stockstream.sinks.buffer import CandleBuffer, Partition, Record, Row, RowBuffer, TickBuffer, partition_of
from stockstream.sinks.contract import ArchivedTick, Block, CandleBlock, TickBlock


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that no row can be made of; it goes to ``dead-letters`` before its offset is committed."""

    record: Record
    reason: str
    error: str


@dataclass(slots=True)
class Batch:
    """All that was held at one moment, on its way into the sink.

    ``spans`` holds for each partition its first offset that is not committed and the one to commit when the rows are
    in; ``since_s`` is when the oldest record came; ``revoked`` are the partitions lost since the batch was taken.
    """

    candles: list[Row[Candle]]
    ticks: list[Row[ArchivedTick]]
    candle_blocks: list[CandleBlock]
    tick_blocks: list[TickBlock]
    poison: list[Poison]
    spans: dict[Partition, tuple[int, int]]
    since_s: float
    revoked: set[Partition] = field(default_factory=set)

    def __len__(self) -> int:
        rows = len(self.candles) + len(self.ticks) + len(self.poison)
        return rows + sum(map(len, self.candle_blocks)) + sum(map(len, self.tick_blocks))

    @property
    def offsets(self) -> dict[Partition, int]:
        """What to commit: for each partition the offset after the last record read."""
        return {partition: end for partition, (_, end) in self.spans.items()}


class Backlog:
    """Both buffers and the offsets they stand for, with at most one `Batch` on its way.

    It is ``full`` beyond ``max_rows`` rows or about ``max_bytes`` of memory, the batch on its way included; it then
    still accepts what was already fetched. Since a batch holds everything read before it was taken, its offsets
    may be committed once all of it is in the sink, and never before.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._candles = CandleBuffer()
        self._ticks = TickBuffer()
        self._candle_blocks = CandleBlockBuffer()
        self._tick_blocks = BlockBuffer[TickBlock]()
        self._poison: list[Poison] = []
        self._spans: dict[Partition, tuple[int, int]] = {}
        self._since_s: float | None = None
        self._batch: Batch | None = None
        self._batch_bytes = 0

    def add_candle(self, candle: Candle, record: Record, now_s: float) -> None:
        """Hold a candle; a version that lost against a held one only leaves its offset."""
        self._candles.add(Row(candle, record))
        self.skip(record, now_s)

    def add_tick(self, tick: ArchivedTick, record: Record, now_s: float) -> None:
        """Hold a tick."""
        self._ticks.add(Row(tick, record))
        self.skip(record, now_s)

    def add_candles(self, block: CandleBlock, now_s: float) -> None:
        """Hold candles as columns; those of the block's records that are not in it were added before."""
        self._candle_blocks.add(block)
        self._read_all(block, now_s)

    def add_ticks(self, block: TickBlock, now_s: float) -> None:
        """Hold ticks as columns, in the same way."""
        self._tick_blocks.add(block)
        self._read_all(block, now_s)

    def add_poison(self, poison: Poison, now_s: float) -> None:
        """Hold a record that goes to ``dead-letters``."""
        self._poison.append(poison)
        self.skip(poison.record, now_s)

    def skip(self, record: Record, now_s: float) -> None:
        """Note that a record was read, though nothing of it needs to be stored."""
        self._read(partition_of(record), record.offset, record.offset + 1, now_s)

    def _read(self, partition: Partition, first: int, end: int, now_s: float) -> None:
        held = self._spans.get(partition)
        self._spans[partition] = (first if held is None else min(held[0], first), end)
        if self._since_s is None:
            self._since_s = now_s

    def _read_all(self, block: Block[Any], now_s: float) -> None:
        self._read(block.place, block.records.offset(0), block.records.offset(-1) + 1, now_s)

    @property
    def _buffers(self) -> tuple[RowBuffer[Any, Any] | BlockBuffer[Any], ...]:
        return (self._candles, self._ticks, self._candle_blocks, self._tick_blocks)

    @property
    def rows(self) -> int:
        """Rows that wait, without those on their way."""
        return sum(map(len, self._buffers)) + len(self._poison)

    @property
    def all_rows(self) -> int:
        """Rows that wait or are on their way."""
        return self.rows + (len(self._batch) if self._batch else 0)

    @property
    def room(self) -> int:
        """How many more records may be read; 0 if reading has to stop."""
        return max(0, self._max_rows - self.all_rows) if self._bytes + self._batch_bytes < self._max_bytes else 0

    @property
    def full(self) -> bool:
        """Whether to stop reading."""
        return not self.room

    @property
    def _bytes(self) -> int:
        return sum(buffer.size_bytes for buffer in self._buffers)

    @property
    def empty(self) -> bool:
        """Whether nothing waits, neither a row nor an offset; what is on its way does not count."""
        return not self._spans and not self.rows

    @property
    def since_s(self) -> float | None:
        """When the oldest record came that is not committed; None if all are."""
        times = [t for t in (self._since_s, self._batch.since_s if self._batch else None) if t is not None]
        return min(times, default=None)

    def first_uncommitted(self, partition: Partition) -> int | None:
        """The first offset of a partition that was read and is not committed; None if there is none."""
        spans = [self._spans, *([self._batch.spans] if self._batch else [])]
        return min((s[partition][0] for s in spans if partition in s), default=None)

    def take(self, now_s: float) -> Batch:
        """Everything that waits, as the batch on its way, which ends with `settle` or `restore`."""
        self._batch_bytes = self._bytes
        since_s = now_s if self._since_s is None else self._since_s
        batch = Batch(
            self._candles.take(), self._ticks.take(), self._candle_blocks.take(), self._tick_blocks.take(),
            self._poison, self._spans, since_s,
        )  # fmt: skip
        self._poison, self._spans, self._since_s, self._batch = [], {}, None, batch
        return batch

    def settle(self) -> None:
        """The batch is in the sink and committed."""
        self._batch, self._batch_bytes = None, 0

    def restore(self) -> None:
        """The batch, or what is left of it, did not arrive: hold it again, where newer candles may replace its own."""
        batch, self._batch, self._batch_bytes = self._batch, None, 0
        if batch is None:
            return
        self._candles.restore(r for r in batch.candles if partition_of(r.record) not in batch.revoked)
        self._ticks.restore(r for r in batch.ticks if partition_of(r.record) not in batch.revoked)
        self._candle_blocks.restore(b for b in batch.candle_blocks if b.place not in batch.revoked)
        self._tick_blocks.restore(b for b in batch.tick_blocks if b.place not in batch.revoked)
        self._poison = [p for p in batch.poison if partition_of(p.record) not in batch.revoked] + self._poison
        for partition, (first, end) in batch.spans.items():
            held = self._spans.get(partition, (first, end))
            self._spans[partition] = (min(first, held[0]), max(end, held[1]))
        if batch.spans:
            self._since_s = batch.since_s

    def forget(self, partitions: Set[Partition]) -> None:
        """Drop what was read from partitions that are no longer ours; it will be delivered again."""
        for buffer in self._buffers:
            buffer.forget(partitions)
        self._poison = [p for p in self._poison if partition_of(p.record) not in partitions]
        for spans in (self._spans, self._batch.spans if self._batch else {}):
            for partition in partitions & spans.keys():
                del spans[partition]
        if self._batch is not None:
            self._batch.revoked |= partitions
        if not self._spans:
            self._since_s = None
