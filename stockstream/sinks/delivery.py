"""A batch into the sink, whatever single rows are worth."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate, takewhile
from typing import Any, Protocol, TypeVar

from stockstream.errors import SinkRefused
from stockstream.sinks.backlog import Batch, Poison
from stockstream.sinks.blocks import record_of
from stockstream.sinks.buffer import Row
from stockstream.sinks.contract import CandleBlock, Sink, TickBlock

T = TypeVar("T")
B = TypeVar("B", TickBlock, CandleBlock)
Insert = Callable[[Sequence[T]], Awaitable[None]]
logger = logging.getLogger(__name__)

REFUSED = "refused by the sink"


class DeadLetter(Protocol):
    """Sends a record to ``dead-letters`` and returns when it is there; raises `Unreachable` if that fails for now."""

    async def __call__(
        self,
        key: bytes | None,
        value: bytes | None,
        topic: str,
        partition: int,
        offset: int,
        reason: str,
        error: str,
    ) -> None:
        """Send one record with its place, the reason and what exactly was wrong."""


class Delivery:
    """Inserts batches in chunks of ``chunk_rows`` and sends what the sink refuses to ``dead-letters``.

    ``inserted`` and ``dead_lettered`` count rows since the start.
    """

    def __init__(self, sink: Sink, dead_letter: DeadLetter, chunk_rows: int) -> None:
        self._sink = sink
        self._dead_letter = dead_letter
        self._chunk_rows = chunk_rows
        self.inserted = 0
        self.dead_lettered = 0

    async def deliver(self, batch: Batch) -> None:
        """Return when every row is in the sink or in ``dead-letters``; what is done is removed from the batch.

        Raises `Unreachable`; the rest is then still in the batch, and some of it may be in the sink.
        """
        while batch.poison:
            await self._bury(batch.poison[0])
            del batch.poison[0]
        await self._insert_all(batch.candles, self._sink.insert_candles)
        await self._insert_all(batch.ticks, self._sink.insert_ticks)
        sink = self._sink
        await self._insert_all_blocks(batch.candle_blocks, sink.insert_candle_blocks, sink.insert_candles)
        await self._insert_all_blocks(batch.tick_blocks, sink.insert_tick_blocks, sink.insert_ticks)

    async def _insert_all_blocks(self, blocks: list[B], insert: Insert[B], insert_rows: Insert[Any]) -> None:
        while blocks:
            rows = accumulate(map(len, blocks))
            count = max(1, sum(1 for _ in takewhile(lambda so_far: so_far <= self._chunk_rows, rows)))
            await self._insert_blocks(blocks[:count], insert, insert_rows)
            del blocks[:count]

    async def _insert_blocks(self, blocks: Sequence[B], insert: Insert[B], insert_rows: Insert[Any]) -> None:
        try:
            await insert(blocks)
        except SinkRefused:
            if len(blocks) == 1:
                (block,) = blocks
                rows = [Row(block.item(index), record_of(block, index)) for index in range(len(block))]
                await self._insert(rows, insert_rows)
                return
            middle = len(blocks) // 2
            await self._insert_blocks(blocks[:middle], insert, insert_rows)
            await self._insert_blocks(blocks[middle:], insert, insert_rows)
        else:
            self.inserted += sum(map(len, blocks))

    async def _insert_all(self, rows: list[Row[T]], insert: Insert[T]) -> None:
        while rows:
            await self._insert(rows[: self._chunk_rows], insert)
            del rows[: self._chunk_rows]

    async def _insert(self, rows: Sequence[Row[T]], insert: Insert[T]) -> None:
        try:
            await insert([row.item for row in rows])
        except SinkRefused as error:
            if len(rows) == 1:
                await self._bury(Poison(rows[0].record, REFUSED, str(error)))
                return
            middle = len(rows) // 2
            await self._insert(rows[:middle], insert)
            await self._insert(rows[middle:], insert)
        else:
            self.inserted += len(rows)

    async def _bury(self, poison: Poison) -> None:
        record = poison.record
        await self._dead_letter(
            record.key, record.value, record.topic, record.partition, record.offset, poison.reason, poison.error
        )
        self.dead_lettered += 1
        logger.warning(
            "%s[%s]@%s went to dead-letters, %s: %s",
            record.topic,
            record.partition,
            record.offset,
            poison.reason,
            poison.error,
        )
