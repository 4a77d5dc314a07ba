"""What several commands make of the settings to talk to servers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from stockstream.adapters import connection_of, registry_of, subject_of, tick_producer, tick_schema_of
from stockstream.broker.producer import TickProducer
from stockstream.broker.refusal import unreachable
from stockstream.broker.topics import KEPT_7_DAYS, TopicSpec, ensure_topics
from stockstream.codecs import Encoder
from stockstream.errors import SettingsError
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, SUBSCRIPTION_SCHEMA
from stockstream.models.schema import AvroSchema
from stockstream.settings import Settings

if TYPE_CHECKING:
    from stockstream.sources.catalog import Source

_CONNECT_S = 9.0


def subjects_of(settings: Settings) -> dict[str, AvroSchema]:
    """Every subject that a worker writes, with its schema."""
    schemas = dict.fromkeys(settings.tick_topics, tick_schema_of(settings))
    schemas |= {"candles": CANDLE_SCHEMA, "latest": LATEST_SCHEMA, "subscriptions": SUBSCRIPTION_SCHEMA}
    return {subject_of(settings.topic(name)): schema for name, schema in schemas.items()}


def read_source_of(settings: Settings, symbol: str) -> Source:
    """The source of a symbol; raises as `source_of`, and `SettingsError` where its topic is not read here."""
    from stockstream.sources.catalog import source_of

    source = source_of(symbol)
    if source.topic not in settings.tick_topics:
        raise SettingsError(
            f"{symbol} belongs to {source.name}, whose topic {source.topic} is not read here: add it to "
            "STOCKSTREAM_TICK_TOPICS"
        )
    return source


async def connected_producer(settings: Settings, topic: str, *, shed_after_s: float | None = None) -> TickProducer:
    """A producer of ticks that is connected, into a topic and subject that exist; close it.

    ``shed_after_s`` stands above the setting.
    """
    connection = connection_of(settings)
    spec = TopicSpec(topic, settings.partitions, KEPT_7_DAYS)
    try:
        await asyncio.wait_for(ensure_topics(connection, [spec], settings.replication), _CONNECT_S)
    except TimeoutError as error:
        raise unreachable(connection, error) from error
    registry = registry_of(settings)
    try:
        schema = tick_schema_of(settings)
        encoder = Encoder(schema, await registry.ensure(subject_of(topic), schema))
    finally:
        await registry.close()
    producer = tick_producer(settings, connection, topic, encoder, now_ms, shed_after_s)
    await producer.start()
    return producer


def now_ms() -> int:
    """The time, epoch ms."""
    return time.time_ns() // 1_000_000
