"""How long Kafka still keeps what consumer groups have not read, to be said before any of it is deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from stockstream.broker.connection import Connection
from stockstream.broker.topics import Kept, kept_of

log = logging.getLogger(__name__)

_EVERY_S = 30.0
_TIMEOUT_S = 20.0
_STEPS = 10  # of halving: the age of the oldest unread record is found to a thousandth of the topic's retention
_SOON = 0.5  # of the retention
_HOUR_S, _DAY_S = 3600.0, 86_400.0

Groups = Mapping[str, Sequence[str]]
"""Consumer groups, each with the topics that it reads."""
Left = dict[tuple[str, str], tuple[float, float]]
"""By group and topic the seconds left, and those that the topic keeps any record."""


async def retention_left(connection: Connection, groups: Groups, now_ms: int) -> Left:
    """How long it is until Kafka may delete the oldest record that a group has not read, by the time that records bear.

    Where all is read it is the whole retention; topics that keep records for ever are left out. What a topic deletes
    because it has become too large cannot be told in advance. Raises `BrokerUnreachable` or Kafka's errors.
    """
    kept = await kept_of(connection, groups)
    consumer = AIOKafkaConsumer(**connection.aiokafka(), group_id=None, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await consumer.start()
            return await _left(consumer, kept, now_ms)
    finally:
        await consumer.stop()


async def _left(consumer: AIOKafkaConsumer, kept: Sequence[Kept], now_ms: int) -> Left:
    left: Left = {}
    for each in kept:
        if each.retention_ms < 0:
            continue
        places = [TopicPartition(each.topic, number) for number in range(each.partitions)]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        unread = {tp: max(begins[tp], each.committed.get(tp.partition, 0)) for tp in places}
        unread = {tp: at for tp, at in unread.items() if at < ends[tp]}
        share = await _oldest(consumer, unread, each.retention_ms, now_ms) if unread else 0.0
        retention_s = each.retention_ms / 1000
        left[each.group, each.topic] = (1 - share) * retention_s, retention_s
    return left


async def _oldest(consumer: AIOKafkaConsumer, unread: Mapping[TopicPartition, int], most_ms: int, now_ms: int) -> float:
    """The age of the oldest record from these offsets on, as a share of ``most_ms``; no more than all of it."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        since_ms = max(0, int(now_ms - middle * most_ms))
        firsts = await consumer.offsets_for_times(dict.fromkeys(unread, since_ms))
        is_older = any(firsts[tp] is None or firsts[tp].offset > at for tp, at in unread.items())
        low, high = (middle, high) if is_older else (low, middle)
    return high


class RetentionWatch(Service):
    """Looks twice a minute how long Kafka still keeps what has not been read; ``left`` is what was found last.

    ``degraded`` names a group and a topic of which less than half of that time is left. ``look`` is `retention_left`
    with its arguments.
    """

    def __init__(self, look: Callable[[], Awaitable[Left]]) -> None:
        super().__init__()
        self._look = look
        self.left: Left = {}

    @property
    def degraded(self) -> str | None:
        """What is to be read soon, None where there is time."""
        soon = [
            f"what group {group} has not read of topic {topic} is deleted in {_told(left_s)}"
            for (group, topic), (left_s, kept_s) in sorted(self.left.items())
            if left_s < _SOON * kept_s
        ]
        return "; ".join(soon) or None

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.look()
            await self.sleep(_EVERY_S)

    async def look(self) -> None:
        """Look once; where brokers do not answer, what was found before stands."""
        was = self.degraded
        try:
            self.left = await self._look()
        except Exception as error:  # the edge: no candle waits for a figure
            log.debug("how long records are kept was not told: %r", error)
            return
        now = self.degraded
        if now is not None and was is None:
            log.warning("%s: have it read before, or raise the topic's retention.ms", now)
        elif now is None and was is not None:
            log.info("what is not read is kept long enough again")


def _told(seconds: float) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.1f} days"
    return f"{seconds / _HOUR_S:.1f} hours" if seconds >= 2 * _HOUR_S else f"{seconds:.0f} s"
