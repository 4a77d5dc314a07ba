"""What stockstream asks of a database of candles and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from stockstream.core.archive import VERDICTS, Archive
from stockstream.core.candle_columns import CandleColumns
from stockstream.core.columns import Ints
from stockstream.models import Candle, Tick, Verdict
from stockstream.models.records import Records

C = TypeVar("C", bound="ColumnsOf", covariant=True)

_BLOCK_BYTES = 4_000  # of a block with few rows: its arrays and what holds them


@dataclass(slots=True)
class ArchivedTick:
    """A tick as the archive keeps it: what became of it, and the place in Kafka that identifies it."""

    tick: Tick
    verdict: Verdict
    topic: str
    partition: int
    offset: int


class ColumnsOf(Protocol):
    """Rows of one partition as columns, in the order of its log."""

    @property
    def place(self) -> Ints:
        """Where each row stands in the records."""

    @property
    def offset(self) -> Ints:
        """The place of each row in the log."""

    @property
    def size_bytes(self) -> int:
        """About how much memory they take."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Block(Generic[C]):
    """Rows of one partition as columns, and the records that they came in."""

    topic: str
    partition: int
    columns: C
    records: Records

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def place(self) -> tuple[str, int]:
        """The (topic, partition) that it was read from."""
        return (self.topic, self.partition)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        records = self.records
        return _BLOCK_BYTES + self.columns.size_bytes + int((records.value_end - records.key_begin).sum())


class TickBlock(Block[Archive]):
    """Ticks."""

    def item(self, index: int) -> ArchivedTick:
        """One of them by itself."""
        ticks, verdict = self.columns.ticks, VERDICTS[self.columns.verdicts[index]]
        return ArchivedTick(ticks.tick(index), verdict, self.topic, self.partition, int(ticks.offset[index]))


class CandleBlock(Block[CandleColumns]):
    """States of candles."""

    def item(self, index: int) -> Candle:
        """One of them by itself."""
        return self.columns.candle(index)


class Sink(Protocol):
    """A store in which a row sent again changes nothing.

    A candle is identified by `Candle.key` and its greatest version counts, in whatever order versions arrive; a tick is
    identified by (topic, partition, offset) within an epoch of the topic. So delivery at least once gives the effect of
    once.

    Every method raises `SinkUnreachable` for what may pass (network, time-out, overload, login, missing table, full
    disk) and `SinkRefused` for rows that would be refused for ever.
    """

    async def start(self) -> None:
        """Connect, and create or upgrade the tables; may be called again after it failed or succeeded."""

    async def insert_candles(self, candles: Sequence[Candle]) -> None:
        """Store candles; when it returns they are there, when it raises some of them may be."""

    async def insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        """Store ticks; when it returns they are there, when it raises some of them may be."""

    async def insert_candle_blocks(self, blocks: Sequence[CandleBlock]) -> None:
        """Store candles that are held as columns, as `insert_candles` does."""

    async def insert_tick_blocks(self, blocks: Sequence[TickBlock]) -> None:
        """Store ticks that are held as columns, as `insert_ticks` does."""

    async def candles(
        self,
        symbol: str,
        interval: str,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        session: str = "regular",
    ) -> list[Candle]:
        """The last ``limit`` candles that begin in ``[start_ms, end_ms)``, ascending by window start, one a window."""

    async def ping(self) -> None:
        """Return if the store answers."""

    async def close(self) -> None:
        """Give up what is held; may be called at any time."""
