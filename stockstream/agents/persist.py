"""Candles and ticks from Kafka into the sink, beside the Faust app and at the sink's own pace."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from mode import Service

from stockstream.agents.retry import Retry
from stockstream.agents.sink_reader import FETCH_WAIT_S, CandleDecoder, ColumnsReader, SinkReader, TickDecoder
from stockstream.broker.connection import Connection
from stockstream.core.archive import Archive
from stockstream.core.candle_columns import CandleColumns
from stockstream.models import Tick, Verdict
from stockstream.sinks.backlog import Backlog
from stockstream.sinks.contract import Sink
from stockstream.sinks.delivery import DeadLetter, Delivery

log = logging.getLogger(__name__)

_LAG_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When to flush, when to stop reading, and how long a shutdown may take.

    Rows are inserted once ``flush_rows`` wait, or ``flush_s`` after the insert before. While more can be read at once
    they are gathered up to half of ``max_rows``, since large inserts cost ClickHouse a third a row. Reading pauses
    beyond ``max_rows`` rows or about ``max_bytes`` of memory; a shutdown tries for ``drain_s`` to insert what is held.
    """

    flush_rows: int = 10_000
    flush_s: float = 0.5
    max_rows: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    drain_s: float = 10.0

    @property
    def insert_rows(self) -> int:
        """The most rows of one insert."""
        return max(self.flush_rows, self.max_rows // 2)


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """How the sink is doing.

    ``degraded`` is what is wrong right now, or None; ``lag`` the records not yet committed, None while unknown;
    ``inserted``, ``failures`` (attempts), ``dead_lettered``, ``undecodable`` and ``lost_before_read`` (records that
    Kafka deleted) count since the start.
    """

    degraded: str | None
    oldest_unacknowledged_s: float
    buffered_rows: int
    lag: int | None
    inserted: int
    failures: int
    dead_lettered: int
    undecodable: int
    lost_before_read: int


class Persister(Service):
    """Reads candles and ticks in a consumer group of its own, inserts them, and commits offsets only afterwards.

    So the sink may be away for hours and the candles go on: reading pauses when the buffers are full, and an insert is
    tried again for ever. Nothing is lost, some rows are sent twice, which the `Sink` makes harmless. What the sink
    refuses goes to ``dead-letters``. It starts ``sink``, which whoever made it closes, after this service has stopped.
    """

    def __init__(
        self,
        connection: Connection,
        group_id: str,
        candles_topic: str,
        tick_topics: Sequence[str],
        *,
        sink: Sink,
        candle_decoder: CandleDecoder,
        tick_decoder: TickDecoder,
        judge: Callable[[Tick], Verdict],
        dead_letter: DeadLetter,
        candle_columns: ColumnsReader[CandleColumns] | None = None,
        tick_columns: ColumnsReader[Archive] | None = None,
        limits: Limits | None = None,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.group_id, self.topics = group_id, [candles_topic, *tick_topics]
        self._limits = limits or Limits()
        self._sink = sink
        self._clock = clock
        self._retry = Retry(rng or Random())  # noqa: S311 - jitter is no secret
        self._backlog = Backlog(self._limits.max_rows, self._limits.max_bytes)
        self._delivery = Delivery(sink, dead_letter, self._limits.insert_rows)
        self._reader = SinkReader(
            connection,
            group_id,
            candles_topic,
            tick_topics,
            candle_decoder,
            tick_decoder,
            judge,
            self._backlog,
            self._retry,
            clock,
            candle_columns,
            tick_columns,
            min(FETCH_WAIT_S, self._limits.flush_s / 4),
        )
        self._lag: int | None = None
        self._draining = False
        self._flushed_s = 0.0
        self._reading: asyncio.Future[None] | None = None
        self._flushing: asyncio.Future[None] | None = None

    def health(self) -> SinkHealth:
        """How it is doing now; ``lag`` is some seconds old. Waits for nothing."""
        since_s = self._backlog.since_s
        return SinkHealth(
            degraded="; ".join(f"{what}: {why}" for what, why in sorted(self._retry.troubles.items())) or None,
            oldest_unacknowledged_s=0.0 if since_s is None else self._clock() - since_s,
            buffered_rows=self._backlog.all_rows,
            lag=self._lag,
            inserted=self._delivery.inserted,
            failures=self._retry.failures,
            dead_lettered=self._delivery.dead_lettered,
            undecodable=self._reader.undecodable,
            lost_before_read=self._reader.lost_before_read,
        )

    async def lag(self) -> int | None:
        """Records in Kafka that are not in the sink and committed, asked of Kafka now; None if it does not tell."""
        return await self._reader.lag()

    async def on_start(self) -> None:
        """Begin; neither Kafka nor the sink needs to be there."""
        self._reading = self.add_future(self._reader.run())
        self._flushing = self.add_future(self._flush_for_ever())
        self.add_future(self._watch_lag())

    async def on_stop(self) -> None:
        """Stop reading, insert and commit what is held if that is done in time, and leave the group."""
        await _end(self._reading)
        self._draining = True
        self._retry.hurry()
        self._reader.added.set()
        if self._flushing is not None and self._backlog.since_s is not None:
            await asyncio.wait({self._flushing}, timeout=self._limits.drain_s)
        await _end(self._flushing)
        if self._backlog.since_s is not None:
            log.warning("%s rows were not inserted; they will be read again", self._backlog.all_rows)
        await self._reader.stop()

    async def _flush_for_ever(self) -> None:
        await self._retry.until_done("the sink", self._sink.start)
        self._flushed_s = asyncio.get_running_loop().time()
        while not (self._draining and self._backlog.empty):
            if not self._draining:
                await self._until_due()
            if not self._backlog.empty:
                await self._retry.until_done("the sink", self._flush)

    async def _until_due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._flushed_s + self._limits.flush_s):
                while not self._draining and not self._is_enough:
                    await self._next()
        while not self._draining and self._backlog.empty:
            await self._next()

    async def _next(self) -> None:
        """Wait until something was read."""
        self._reader.added.clear()
        await self._reader.added.wait()

    @property
    def _is_enough(self) -> bool:
        rows = self._backlog.rows
        return rows >= self._limits.flush_rows and (
            rows >= self._limits.insert_rows or self._backlog.full or not self._reader.has_more
        )

    async def _flush(self) -> None:
        self._flushed_s = asyncio.get_running_loop().time()
        batch = self._backlog.take(self._clock())
        try:
            await self._delivery.deliver(batch)
            await self._reader.commit(batch.offsets)
        except BaseException:
            self._backlog.restore()
            raise
        self._backlog.settle()

    async def _watch_lag(self) -> None:
        while not self.should_stop:
            self._lag = await self._reader.lag()
            await self.sleep(_LAG_EVERY_S)


async def _end(task: asyncio.Future[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
