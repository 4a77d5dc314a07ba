"""The sink's own reader of Kafka: from the topics into the backlog, with the backlog's offsets as its commits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from stockstream.agents.retry import Retry
from stockstream.broker.connection import Connection
from stockstream.broker.coordination import look_again_for_coordinator
from stockstream.broker.lean_fetch import fetch_apart, read_lean
from stockstream.core.archive import Archive
from stockstream.core.candle_columns import CandleColumns
from stockstream.errors import BadMessage
from stockstream.models import Candle, Tick, Verdict
from stockstream.models.records import Records
from stockstream.sinks.backlog import Backlog, Poison
from stockstream.sinks.buffer import Partition, Record, SingleRecord
from stockstream.sinks.contract import ArchivedTick, CandleBlock, TickBlock

C = TypeVar("C", covariant=True)
log = logging.getLogger(__name__)

_POLL_S = 0.2
_GLANCE_S = 0.02  # more is fetched while records are decoded: what is not there soon is yet to be written
_LAG_TIMEOUT_S = 5.0
# At a live pace it is fetches that cost, not records: brokers gather them, as long as `fetch_wait_s`.
_FETCH_MIN_BYTES = 1_000_000
FETCH_WAIT_S = 0.25
# Decoding so many takes some milliseconds, during which nothing else runs in the worker.
_AT_ONCE = 500
_AT_ONCE_AS_COLUMNS = 4096
# What the sink does not get in now it gets in later; candles should not wait for it.
_OTHERS_SHARE = 4
_QUIET_TURN_S = 0.0002
_QUIET_TURNS = 10  # so many without a pause: who works in short steps is busy too


class CandleDecoder(Protocol):
    """Bytes of the ``candles`` topic to candles."""

    async def prepare(self, values: Records) -> None:
        """Fetch what `decode` needs to read these values; may wait long, may raise `Unreachable`."""

    def decode(self, value: bytes | None) -> Candle:
        """Return the candle; raise `BadMessage` if there is none."""


class TickDecoder(Protocol):
    """Records of the tick topics to ticks."""

    async def prepare(self, values: Records) -> None:
        """Fetch what `decode` needs to read these values; may wait long, may raise `Unreachable`."""

    def decode(self, key: bytes | None, value: bytes | None) -> Tick:
        """Return the tick; raise `BadMessage` if there is none."""


class ColumnsReader(Protocol[C]):
    """Records of a topic to columns; it has been prepared, being their decoder too."""

    def read(self, records: Records) -> tuple[C, list[int]]:
        """Return those of ``records`` that can be read so, and the places of all others, which are to be decoded."""


class SinkReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads ``candles_topic`` and ``tick_topics`` as the consumer group ``group_id``, from the earliest record on.

    Brokers answer a fetch when there is much to read, or after ``fetch_wait_s``. While the rest of the worker is busy
    it takes a small part of the event loop's time. While the backlog is full, or a schema is waited for, its partitions
    are paused and it goes on polling, so that it stays in its group. What it holds of a partition that is taken away is
    forgotten: the next owner reads it again.

    What ``candle_columns`` and ``tick_columns`` can read is held as columns, all else is decoded one by one.

    Candles that cannot be decoded are put into the backlog for ``dead-letters``; such ticks are only counted, in
    ``undecodable``, since the candle agent, which reads the same records, sends them there. What Kafka has deleted
    before it was read is counted in ``lost_before_read`` and logged as an error.
    """

    def __init__(
        self,
        connection: Connection,
        group_id: str,
        candles_topic: str,
        tick_topics: Sequence[str],
        candle_decoder: CandleDecoder,
        tick_decoder: TickDecoder,
        judge: Callable[[Tick], Verdict],
        backlog: Backlog,
        retry: Retry,
        clock: Callable[[], float],
        candle_columns: ColumnsReader[CandleColumns] | None = None,
        tick_columns: ColumnsReader[Archive] | None = None,
        fetch_wait_s: float = FETCH_WAIT_S,
    ) -> None:
        self._connection = connection
        self._group_id = group_id
        self._candles_topic = candles_topic
        self._topics = [candles_topic, *tick_topics]
        self._candle_decoder = candle_decoder
        self._tick_decoder = tick_decoder
        self._judge = judge
        self._backlog = backlog
        self._retry = retry
        self._clock = clock
        self._candle_columns = candle_columns
        self._tick_columns = tick_columns
        self._fetch_wait_s = fetch_wait_s
        self._consumer: Any = None
        self._is_rebalancing = False
        self._fetched: deque[tuple[TopicPartition, Records]] = deque()
        self._at_once: dict[str, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self.undecodable = 0
        self.lost_before_read = 0
        self.has_more = False
        self.added = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled.

        ``added`` is set whenever something was put into the backlog, and when nothing more was there: then ``has_more``
        is false.
        """
        await self._retry.until_done("the sink's consumer", self._connect)
        while True:
            await self._retry.until_done("the sink's consumer", self._step)

    async def stop(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offset of each partition; raises Kafka's errors, among them that a partition is not ours."""
        if offsets:
            await self._consumer.commit({TopicPartition(*partition): end for partition, end in offsets.items()})

    async def lag(self) -> int | None:
        """Records of our partitions that are not committed yet; None if it is not known in time."""
        if self._consumer is None or self._is_rebalancing:
            return None
        try:
            async with asyncio.timeout(_LAG_TIMEOUT_S):
                ours = list(self._consumer.assignment())
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(ours)
                positions = {tp: await self._consumer.position(tp) for tp in ours}
        except (KafkaError, TimeoutError):
            return None
        # What is held is looked at last, and without waiting: what was beyond a position then is held or stored now.
        fetched = {tp: records.offset(0) for tp, records in reversed(self._fetched)}
        firsts = {tp: self._backlog.first_uncommitted((tp.topic, tp.partition)) for tp in ours}
        stored = {tp: fetched.get(tp, positions[tp]) if (first := firsts[tp]) is None else first for tp in ours}
        return sum(max(0, ends[tp] - stored[tp]) for tp in ours)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Forget what is held of them."""
        self._is_rebalancing = True
        self._next.clear()
        self._fetched.clear()  # all of them are taken away, whichever are given back
        self._backlog.forget({(tp.topic, tp.partition) for tp in revoked})

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Reading goes on where the group has committed."""
        self._is_rebalancing = False

    async def _connect(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            group_id=self._group_id,
            client_id=self._group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            heartbeat_interval_ms=1000,
            fetch_min_bytes=_FETCH_MIN_BYTES,
            fetch_max_wait_ms=int(self._fetch_wait_s * 1000),
        )
        look_again_for_coordinator(consumer)
        consumer.subscribe(self._topics, listener=self)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        # Partitions were assigned this moment: where to begin is yet to be asked of the broker, so nothing was fetched.
        read_lean(consumer, self._topics)
        fetch_apart(consumer)
        self._consumer = consumer

    async def _step(self) -> None:
        if self._backlog.full:
            await self._hold()
            return
        if not self._fetched:
            await self._fetch()
            if not self._fetched:
                self._turn(has_more=False)
        while self._fetched and not self._backlog.full:
            began_s = self._clock()
            self._take()
            self._turn(has_more=True)
            await self._give_way((self._clock() - began_s) * _OTHERS_SHARE)

    def _turn(self, *, has_more: bool) -> None:
        self.has_more = has_more
        self.added.set()

    async def _fetch(self) -> None:
        self._consumer.resume(*self._consumer.paused())
        fetched = await self._consumer.getmany(timeout_ms=int((_GLANCE_S if self.has_more else _POLL_S) * 1000))
        # If partitions are taken away from here on, these records are forgotten: they are read again from the commits,
        # and to count them as read would commit over the records before them, which were forgotten too.
        self._fetched.extend((tp, records) for tp, of_partition in fetched.items() for records in of_partition)
        if self._fetched:
            await self._prepare()
            for tp, of_partition in fetched.items():
                for records in of_partition:
                    await self._look_for_lost(tp, records)

    async def _look_for_lost(self, tp: TopicPartition, records: Records) -> None:
        """Tell of what lay between the records read before, or the group's commit, and these; the client does not."""
        first = records.offset(0)
        try:
            wanted = self._next.get(tp)
            if wanted is None:
                wanted = await self._consumer.committed(tp)
            begin = first
            if wanted is not None and wanted < first:
                begin = (await self._consumer.beginning_offsets([tp]))[tp]
        except KafkaError as error:
            log.debug("whether anything before offset %d of %s was deleted was not told: %r", first, tp, error)
            return
        self._next[tp] = records.offset(-1) + 1
        deleted = 0 if wanted is None else min(first, begin) - wanted
        if deleted > 0:
            self.lost_before_read += deleted
            log.error(
                "%s-%d: offsets %d to %d were deleted before the sink read them",
                tp.topic, tp.partition, wanted, wanted + deleted - 1,
            )  # fmt: skip

    def _take(self) -> None:
        """Put the next ones of the records that were fetched into the backlog."""
        tp, records = self._fetched.popleft()
        most = min(self._at_once.get(tp.topic, _AT_ONCE), self._backlog.room)
        if len(records) > most:
            self._fetched.appendleft((tp, records.part(most, len(records))))
            records = records.part(0, most)
        add, others = self._as_columns(tp, records)
        self._at_once[tp.topic] = _AT_ONCE if len(others) > _AT_ONCE // 2 else _AT_ONCE_AS_COLUMNS
        for place in others:
            self._keep(
                SingleRecord(tp.topic, tp.partition, records.offset(place), records.key(place), records.value(place))
            )
        if add is not None:
            add(self._clock())

    def _as_columns(self, tp: TopicPartition, records: Records) -> tuple[Callable[[float], None] | None, Sequence[int]]:
        """What puts those into the backlog that are read as columns, if any, and the places of all others."""
        if tp.topic == self._candles_topic and self._candle_columns is not None:
            candles, others = self._candle_columns.read(records)
            if len(candles):
                return partial(self._backlog.add_candles, CandleBlock(tp.topic, tp.partition, candles, records)), others
        elif tp.topic != self._candles_topic and self._tick_columns is not None:
            ticks, others = self._tick_columns.read(records)
            if len(ticks):
                return partial(self._backlog.add_ticks, TickBlock(tp.topic, tp.partition, ticks, records)), others
        return None, range(len(records))

    async def _give_way(self, wanted_s: float) -> None:
        """Let the rest of the worker have so much of the event loop's time, or as much as it wants."""
        given_s, quiet_turns = 0.0, 0
        while True:
            began_s = self._clock()
            await asyncio.sleep(0)
            turn_s = self._clock() - began_s
            given_s += turn_s
            quiet_turns = quiet_turns + 1 if turn_s < _QUIET_TURN_S else 0
            if given_s >= wanted_s or quiet_turns == _QUIET_TURNS:
                return

    async def _hold(self) -> None:
        """Poll without reading."""
        try:
            self._consumer.pause(*self._consumer.assignment())
            fetched = await self._consumer.getmany(timeout_ms=int(_POLL_S * 1000))
        except KafkaError:
            await asyncio.sleep(_POLL_S)
            return
        for tp, records in fetched.items():  # assigned during the poll, hence not paused
            self._consumer.seek(tp, records[0].offset(0))

    async def _prepare(self) -> None:
        work = asyncio.gather(*(self._decodable(tp, records) for tp, records in self._fetched))
        try:
            await asyncio.wait({work}, timeout=_POLL_S)
            while not work.done():
                self._retry.troubles.setdefault("decoding", "waiting for a schema")
                await self._hold()
            self._retry.troubles.pop("decoding", None)
            work.result()
        finally:
            work.cancel()

    async def _decodable(self, tp: TopicPartition, records: Records) -> None:
        decoder = self._candle_decoder if tp.topic == self._candles_topic else self._tick_decoder
        await self._retry.until_done("decoding", partial(decoder.prepare, records))

    def _keep(self, record: Record) -> None:
        now_s = self._clock()
        try:
            if record.topic == self._candles_topic:
                self._backlog.add_candle(self._candle_decoder.decode(record.value), record, now_s)
            else:
                tick = self._tick_decoder.decode(record.key, record.value)
                place = (record.topic, record.partition, record.offset)
                self._backlog.add_tick(ArchivedTick(tick, self._judge(tick), *place), record, now_s)
        except BadMessage as error:
            self.undecodable += 1
            if record.topic == self._candles_topic:
                self._backlog.add_poison(Poison(record, Verdict.CORRUPT, str(error)), now_s)
            else:
                self._backlog.skip(record, now_s)
