"""What of a topic's log there is: where it begins and ends, and where a time lies in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import unreachable

_TIMEOUT_S = 7.0


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition: of its first record, of the first one since a time, and of the next to be written."""

    begin: int
    since: int
    end: int


async def spans_of(connection: Connection, since_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, Span]:
    """The spans of partitions that exist, each with a time of the log's own (epoch ms).

    Nothing is read, and no group joined. Raises `BrokerUnreachable` within some seconds.
    """
    consumer = AIOKafkaConsumer(**connection.aiokafka(), group_id=None, enable_auto_commit=False)
    places = list(since_ms)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await consumer.start()
            consumer.assign(places)
            begins = await consumer.beginning_offsets(places)
            found = await consumer.offsets_for_times(dict(since_ms))
            ends = await consumer.end_offsets(places)  # last, so that none lies before the others
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreachable(connection, error) from error
    finally:
        await consumer.stop()
    return {
        place: Span(begins[place], ends[place] if found[place] is None else found[place].offset, ends[place])
        for place in places
    }
