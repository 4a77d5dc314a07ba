"""Reads topics from some place on to their end and for ever, without a consumer group."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from mode import Service

from stockstream.errors import BadMessage, RegistryUnreachable, Unreachable

log = logging.getLogger(__name__)

_POLL_MS = 500
_FETCH_WAIT_MS = 100  # a fetch for quiet partitions holds up the busy ones of its broker no longer than this
QUIET_FETCH_WAIT_MS = 500  # where all of them are quiet
_BATCH_RECORDS = 500  # a few ms of decoding, which the event loop can spare
# In which what we sent ourselves is acknowledged, so that it is stepped over and not read. While others send nothing
# it is longer: each look has the broker send what came since, which then is not read.
_LOOK_EVERY_S, _SELDOM_S, _ALONE_S = 0.05, 0.2, 1.0
_IDLE_PROBE_S = 5.0
_CONTACT_TIMEOUT_S = 10.0
_GREATEST_DELAY_S = 10.0
_REPORT_EVERY_S = 60.0
_PASSING = (KafkaError, OSError, TimeoutError, Unreachable)


class TopicFollower(Service):
    """Hands every record of some topics to ``take``, in the order of each partition.

    ``connection`` are an aiokafka client's arguments; ``topics`` maps names to the seconds of history wanted, by the
    time records were sent (None: from the beginning); ``prepare`` is awaited with the values of a batch before its
    records are taken; ``take`` raises `BadMessage` for what is no record: counted in ``undecodable``, logged and passed
    over. ``now_ms`` is the wall clock in epoch ms. ``fetch_wait_ms`` is how often brokers that have nothing are asked.
    ``is_alone`` tells whether nobody but this process is expected to send; it looks for others' records seldom then.

    ``ready`` turns true, for good, when everything has been read that was there at the start. ``degraded`` says what
    is wrong while Kafka or the registry is away; reading then goes on where it was.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topics: Mapping[str, float | None],
        *,
        take: Callable[[ConsumerRecord], None],
        now_ms: Callable[[], int],
        prepare: Callable[[Sequence[bytes]], Awaitable[None]] | None = None,
        fetch_wait_ms: int = _FETCH_WAIT_MS,
        is_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.ready = False
        self.degraded: str | None = None
        self.undecodable = 0
        self._connection = dict(connection)
        self._topics = dict(topics)
        self._prepare = prepare
        self._take = take
        self._now_ms = now_ms
        self._fetch_wait_ms = fetch_wait_ms
        self._is_alone = is_alone
        self._positions: dict[TopicPartition, int] = {}
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        self._failures = 0
        self._next_report_s = 0.0

    def step_over(self, topic: str, partition: int, begin: int, end: int) -> None:
        """The records in ``[begin, end)`` need not be read: whoever sent them has told what they say.

        Of each partition the last unbroken stretch is remembered; records before it are read first.
        """
        place = TopicPartition(topic, partition)
        first, last = self._known.get(place, (begin, begin))
        self._known[place] = (first if last == begin else begin, end)

    @Service.task
    async def _supervise(self) -> None:
        while not self.should_stop:
            try:
                await self._follow()
            except Exception as error:  # the edge: a follower that ends would leave old data for ever
                self.degraded = f"{type(error).__name__}: {error}"
                unexpected = not isinstance(error, _PASSING)
                log.warning("%s: reconnecting after %s", ", ".join(self._topics), self.degraded, exc_info=unexpected)
                ceiling_s = min(_GREATEST_DELAY_S, 0.2 * 2 ** min(self._failures, 16))
                self._failures += 1
                await self.sleep(random.uniform(0.1, ceiling_s))  # noqa: S311 - jitter is no secret

    async def _follow(self) -> None:
        """Read until the service stops; raises whatever ends the connection."""
        consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=self._fetch_wait_ms,
        )
        try:
            await consumer.start()
            unread = await self._seek(consumer)
            await self._read(consumer, unread)
        finally:
            await _close(consumer)

    async def _seek(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Assign all partitions, go on where the last connection was, and return the end offsets of now."""
        # Asked first because to ask for a missing topic's offsets may create it, with the broker's own settings.
        missing = sorted(set(self._topics) - await consumer.topics())
        if missing:
            raise UnknownTopicOrPartitionError(f"not created yet: {', '.join(missing)}")
        async with asyncio.timeout(_CONTACT_TIMEOUT_S):
            # Fetches the topics' metadata.
            await consumer.end_offsets([TopicPartition(topic, 0) for topic in self._topics])
            partitions = [
                TopicPartition(topic, p) for topic in self._topics for p in consumer.partitions_for_topic(topic)
            ]
            consumer.assign(partitions)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            starts = await self._starts(consumer, partitions, ends)
        for partition, end in ends.items():
            position = self._positions.get(partition)
            if partition in self._known and self._known[partition][1] > end:  # the topic was created anew
                del self._known[partition]
            if position is None or position > end:  # here too
                position = self._positions[partition] = starts[partition]
            consumer.seek(partition, position)
        return ends

    async def _starts(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        since_ms = {
            p: max(0, self._now_ms() - int(history_s * 1000))
            for p in partitions
            if (history_s := self._topics[p.topic]) is not None
        }
        found = await consumer.offsets_for_times(since_ms) if since_ms else {}
        return starts | {p: ends[p] if first is None else first.offset for p, first in found.items()}

    async def _read(self, consumer: AIOKafkaConsumer, unread: dict[TopicPartition, int]) -> None:
        quiet_since_s = time.monotonic()
        while not self.should_stop:
            self._step(consumer)
            timeout_ms = 0 if self._known else _POLL_MS
            batch = await consumer.getmany(timeout_ms=timeout_ms, max_records=_BATCH_RECORDS)
            if batch:
                await self._apply(batch)
                quiet_since_s = time.monotonic()
            elif time.monotonic() - quiet_since_s > _IDLE_PROBE_S:
                # aiokafka never tells that the brokers are gone: it retries, and to us it is merely quiet.
                async with asyncio.timeout(_CONTACT_TIMEOUT_S):
                    await consumer.end_offsets(list(consumer.assignment()))
                quiet_since_s = time.monotonic()
            if unread:
                await self._strike_out(consumer, unread)
            await self.sleep(self._pause_s(sum(map(len, batch.values()))))  # getmany may not wait

    def _pause_s(self, count: int) -> float:
        """How long to let what comes pile up, after ``count`` records."""
        if not self._known or count >= _BATCH_RECORDS:
            return 0
        if count:
            return _LOOK_EVERY_S
        return _ALONE_S if self._is_alone() else _SELDOM_S

    def _step(self, consumer: AIOKafkaConsumer) -> None:
        """Go to the end of every stretch that is known, where its beginning has been reached."""
        for partition, (begin, end) in self._known.items():
            if begin <= self._positions.get(partition, -1) < end:
                consumer.seek(partition, end)  # what was fetched of it is dropped unread
                self._positions[partition] = end

    async def _strike_out(self, consumer: AIOKafkaConsumer, unread: dict[TopicPartition, int]) -> None:
        """Remove the partitions that are read to their end of the start; with the last of them all is current."""
        async with asyncio.timeout(_CONTACT_TIMEOUT_S):
            for partition, end in list(unread.items()):
                if await consumer.position(partition) >= end:
                    del unread[partition]
        if not unread:
            self.ready = True
            self.degraded = None
            self._failures = 0

    async def _apply(self, batch: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        if self._prepare is not None:
            values = [record.value for records in batch.values() for record in records if record.value is not None]
            try:
                async with asyncio.timeout(_CONTACT_TIMEOUT_S):
                    await self._prepare(values)
            except TimeoutError:
                raise RegistryUnreachable(f"no schemas within {_CONTACT_TIMEOUT_S:g} s") from None
        for partition, records in batch.items():
            if records[0].offset < self._positions.get(partition, 0):  # the topic was created anew
                self._known.pop(partition, None)
            begin, end = self._known.get(partition, (0, 0))
            for record in records:
                if begin <= record.offset < end:
                    continue
                try:
                    self._take(record)
                except BadMessage as error:
                    self._pass_over(record, error)
            self._positions[partition] = records[-1].offset + 1

    def _pass_over(self, record: ConsumerRecord, error: BadMessage) -> None:
        self.undecodable += 1
        now_s = time.monotonic()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_EVERY_S
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            log.warning("%s undecodable records so far, the last one %s: %s", self.undecodable, place, error)


async def _close(consumer: AIOKafkaConsumer) -> None:
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        # While a broker is away, aiokafka 0.14 lets out the cancellation of its own fetch, which would end our task
        # as if it had been cancelled, and leaves its connections open.
        await consumer._client.close()
    else:
        stopping.result()
