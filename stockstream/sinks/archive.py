"""The archive of ticks, read back: each partition in the order of its log, all of them by their times of reception."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, fields
from heapq import heapify, heappop, heapreplace
from types import TracebackType
from typing import Any, Self

from stockstream.models import Tick
from stockstream.models.tick import SPANS
from stockstream.sinks.clickhouse import ClickHouseSink

_REACH_MS = 7 * 86_400_000  # how long before it ends a hole may have begun
_IS_SPAN = f"t.kind IN {tuple(sorted(SPANS))}"
_COLUMNS = ", ".join(f"t.`{each.name}`" for each in fields(Tick))


@dataclass(slots=True)
class _Partition:
    """What is left of one partition: its rows behind ``after`` up to ``last``, and those of them that were read."""

    topic: str
    number: int
    epoch: int
    after: int
    last: int
    page: deque[Tick] = field(default_factory=deque)


class TickArchive:
    """The ticks that happened in ``[from_ms, until_ms)`` and came in ``topics``, as they were received.

    The ``gap`` and ``repair`` records that reach into that time are among them, whatever their verdicts were.
    ``symbols`` and ``source`` choose among them, if given. An async context manager, which connects ``sink`` and closes
    it; iterate it once. ``rows`` are all that there are, ``rows_read`` those that were given. At most about
    ``held_rows`` are in memory, however many there are. Errors are the sink's.
    """

    def __init__(
        self,
        sink: ClickHouseSink,
        *,
        from_ms: int,
        until_ms: int,
        topics: Sequence[str],
        symbols: Sequence[str] = (),
        source: str | None = None,
        held_rows: int = 50_000,
    ) -> None:
        self.rows = self.rows_read = 0
        self._sink, self._from_ms = sink, from_ms
        self._partitions: list[_Partition] = []
        self._held_rows = held_rows
        self._given = {
            "from": from_ms,
            "until": until_ms,
            "reach": from_ms - _REACH_MS,
            "topics": list(topics),
            "symbols": list(symbols),
            "source": source or "",
        }
        self._chosen = "t.topic IN {topics:Array(String)}"
        if symbols:
            self._chosen += " AND t.symbol IN {symbols:Array(String)}"
        if source is not None:
            self._chosen += " AND t.source = {source:String}"
        self._within = (
            f"{self._chosen} AND t.event_time >= {{reach:Int64}} AND t.event_time < {{until:Int64}}"
            f" AND (t.event_time >= {{from:Int64}} OR ({_IS_SPAN} AND t.until > {{from:Int64}}))"
        )

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._sink.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sink.close()

    async def _open(self) -> None:
        await self._sink.connect()
        found = await self._select(
            "SELECT t.topic, t.`partition`, t.epoch, uniqExact(t.`offset`), min(t.`offset`), max(t.`offset`)"  # noqa: S608 - constants
            f" FROM {{database}}.ticks AS t WHERE {self._within} GROUP BY ALL ORDER BY ALL"
        )
        self._partitions = [
            _Partition(topic, number, epoch, first - 1, last) for topic, number, epoch, _, first, last in found
        ]
        self.rows = sum(count for _, _, _, count, _, _ in found)

    async def before(self) -> list[Tick]:
        """What says from when on each symbol was covered: its last ``start``, the week's holes and repairs.

        Without it a day whose subscription is older than what is read would begin as one that nobody knows the
        beginning of.
        """
        starts = await self._select(
            f"SELECT {_COLUMNS} FROM {{database}}.ticks AS t WHERE {self._chosen}"  # noqa: S608 - constants
            " AND t.kind = 'start' AND t.event_time < {from:Int64} ORDER BY t.event_time DESC LIMIT 1 BY t.symbol"
        )
        holes = await self._select(
            f"SELECT DISTINCT {_COLUMNS} FROM {{database}}.ticks AS t WHERE {self._chosen}"  # noqa: S608 - constants
            f" AND {_IS_SPAN} AND t.event_time >= {{reach:Int64}} AND t.until <= {{from:Int64}}"
        )
        ticks = [Tick(*row) for row in (*starts, *holes)]
        known = {tick.symbol for tick in ticks if tick.kind == "start"}
        return sorted(
            (tick for tick in ticks if tick.symbol in known), key=lambda tick: (tick.received_ms, tick.event_time)
        )

    async def __aiter__(self) -> AsyncIterator[Tick]:
        for each in self._partitions:
            await self._fill(each)
        waiting = [(each.page[0].received_ms, at) for at, each in enumerate(self._partitions) if each.page]
        heapify(waiting)
        while waiting:
            _, at = waiting[0]
            each = self._partitions[at]
            self.rows_read += 1
            yield each.page.popleft()
            if not each.page:
                await self._fill(each)
            if each.page:
                heapreplace(waiting, (each.page[0].received_ms, at))
            else:
                heappop(waiting)

    async def _fill(self, each: _Partition) -> None:
        """Read the next page; what was delivered twice may show twice, and is read once."""
        if each.after >= each.last:
            return
        rows = await self._select(
            f"SELECT t.`offset`, {_COLUMNS} FROM {{database}}.ticks AS t WHERE t.topic = {{topic:String}}"  # noqa: S608 - constants
            " AND t.`partition` = {partition:UInt32} AND t.epoch = {epoch:UInt8}"
            f" AND t.`offset` > {{after:Int64}} AND t.`offset` <= {{last:Int64}} AND {self._within}"
            " ORDER BY t.topic, t.`partition`, t.`offset` LIMIT 1 BY t.`offset` LIMIT {rows:UInt32}",
            topic=each.topic,
            partition=each.number,
            epoch=each.epoch,
            after=each.after,
            last=each.last,
            rows=max(1, self._held_rows // len(self._partitions)),
        )
        each.page.extend(Tick(*row[1:]) for row in rows)
        each.after = rows[-1][0] if rows else each.last

    async def _select(self, sql: str, **more: Any) -> Sequence[Sequence[Any]]:
        return await self._sink.select(sql, {**self._given, **more})
