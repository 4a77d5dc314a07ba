"""What lies in a topic now: read once, without a consumer group, up to the ends that it had at the start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, StaleMetadata

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import unreachable
from stockstream.broker.topics import find_topics
from stockstream.errors import BrokerUnreachable, InvalidInput

_CONTACT_TIMEOUT_S = 15.0
_AGAIN_S = 0.3
_STALL_S = 20.0
_POLL_MS = 500
_BATCH_RECORDS = 5_000


class Snapshot:
    """The records of a topic between two sets of offsets; made by `open_snapshot`.

    ``total`` is how many offsets there are to read, ``done`` how many have been read.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topic: str,
        begins: dict[TopicPartition, int],
        ends: dict[TopicPartition, int],
        stall_s: float,
    ) -> None:
        self.topic = topic
        self.total = sum(ends[place] - begin for place, begin in begins.items())
        self._consumer, self._begins, self._ends = consumer, begins, ends
        self._at = dict(begins)
        self._stall_s = stall_s

    @property
    def done(self) -> int:
        """How many offsets have been read."""
        return sum(min(at, self._ends[place]) - self._begins[place] for place, at in self._at.items())

    async def batches(self) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """Records of one partition each, in the order of its log; raises `BrokerUnreachable` when no more come."""
        unread = {place for place, begin in self._begins.items() if begin < self._ends[place]}
        moved_s = time.monotonic()
        while unread:
            try:
                async with asyncio.timeout(self._stall_s):
                    fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH_RECORDS)
                    positions = {place: await self._consumer.position(place) for place in unread}
            except TimeoutError:
                raise self._stalled() from None
            except (KafkaError, OSError) as error:
                raise BrokerUnreachable(f"topic {self.topic} could not be read to its end: {error!r}") from error
            for place, records in fetched.items():
                if whole := [record for record in records if record.offset < self._ends[place]]:
                    yield whole
            if any(position > self._at[place] for place, position in positions.items()):
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > self._stall_s:
                raise self._stalled()
            self._at |= positions
            if over := {place for place in unread if positions[place] >= self._ends[place]}:
                self._consumer.pause(*over)
                unread -= over

    def _stalled(self) -> BrokerUnreachable:
        return BrokerUnreachable(
            f"topic {self.topic} could not be read to its end: its brokers sent nothing for {self._stall_s:g} s"
        )


@asynccontextmanager
async def open_snapshot(
    connection: Connection,
    topic: str,
    *,
    since_ms: int | None = None,
    partitions: Collection[int] | None = None,
    stall_s: float = _STALL_S,
) -> AsyncIterator[Snapshot]:
    """What ``topic`` holds now, in ``partitions`` (None: all).

    Reading begins at the first record that the log took at ``since_ms`` (epoch ms; None: at the beginning). Raises
    `InvalidInput` where there is no such topic, and within some seconds `BrokerUnreachable`.
    """
    found = await topics_now(connection)
    if topic not in found:
        raise InvalidInput(
            f"there is no topic {topic} at {connection.bootstrap_servers}: check the name, its prefix included"
        )
    numbers = range(found[topic]) if partitions is None else sorted(partitions)
    places = [TopicPartition(topic, number) for number in numbers]
    consumer = AIOKafkaConsumer(
        **connection.aiokafka(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        begins, ends = await _patiently(connection, consumer, places, since_ms)
        begins = {place: min(begin, ends[place]) for place, begin in begins.items()}
        for place, begin in begins.items():
            consumer.seek(place, begin)
        yield Snapshot(consumer, topic, begins, ends, stall_s)
    finally:
        await consumer.stop()


async def topics_now(connection: Connection) -> dict[str, int]:
    """As `find_topics`, patient with brokers that have just come back and do not list themselves yet."""
    give_up_s = time.monotonic() + _CONTACT_TIMEOUT_S
    while True:
        try:
            return await find_topics(connection)
        except BrokerUnreachable as error:
            if not isinstance(error.__cause__, StaleMetadata) or time.monotonic() > give_up_s:
                raise
        await asyncio.sleep(_AGAIN_S)


async def _patiently(
    connection: Connection, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], since_ms: int | None
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Connect, and where to begin and to end; what may pass, as when leaders move, is tried again for some seconds."""
    reason: Exception | str = f"nothing within {_CONTACT_TIMEOUT_S:g} s"
    is_started = False
    try:
        async with asyncio.timeout(_CONTACT_TIMEOUT_S):
            while True:
                try:
                    if not is_started:
                        await consumer.start()
                        consumer.assign(places)
                        is_started = True
                    ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
                    begins: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
                    if since_ms is not None:
                        times = await consumer.offsets_for_times(dict.fromkeys(places, max(0, since_ms)))
                        begins = {place: ends[place] if at is None else at.offset for place, at in times.items()}
                    return begins, ends
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    reason = error
                await asyncio.sleep(_AGAIN_S)
    except TimeoutError as error:
        raise unreachable(connection, reason) from error
    except (KafkaError, OSError) as error:
        raise unreachable(connection, error) from error
