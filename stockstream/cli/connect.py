"""Adapters made from the settings, for commands that talk to servers."""

from __future__ import annotations

import asyncio
import time

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.broker.topics import KEPT_7_DAYS, TopicSpec, ensure_topics, unreachable
from stockstream.codecs import Encoder, Registry
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2
from stockstream.models.schema import AvroSchema
from stockstream.settings import Settings

_CONNECT_S = 9.0


def connection_of(settings: Settings) -> Connection:
    """How to reach Kafka."""
    password = settings.kafka_sasl_password
    return Connection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_ca_file=str(settings.kafka_ssl_ca_file) if settings.kafka_ssl_ca_file else None,
    )


def registry_of(settings: Settings, timeout_s: float = 5.0) -> Registry:
    """The schema registry; close it."""
    password = settings.schema_registry_password
    return Registry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=password.get_secret_value() if password else None,
        timeout_s=timeout_s,
    )


def subject_of(topic: str) -> str:
    """The subject of a topic's values."""
    return f"{topic}-value"


def tick_schema_of(settings: Settings) -> AvroSchema:
    """The version of the tick schema that is written."""
    return TICK_SCHEMA_V1 if settings.tick_schema == 1 else TICK_SCHEMA_V2


def subjects_of(settings: Settings) -> dict[str, AvroSchema]:
    """Every subject that a worker writes, with its schema."""
    schemas = dict.fromkeys(settings.tick_topics, tick_schema_of(settings))
    schemas |= {"candles": CANDLE_SCHEMA, "latest": LATEST_SCHEMA}
    return {subject_of(settings.topic(name)): schema for name, schema in schemas.items()}


async def connected_producer(settings: Settings, topic: str, *, shed_after_s: float) -> TickProducer:
    """A producer of ticks that is connected, into a topic and subject that exist; close it."""
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
    producer = TickProducer(connection, topic, encoder, now_ms=now_ms, shed_after_s=shed_after_s)
    await producer.start()
    return producer


def now_ms() -> int:
    """The time, epoch ms."""
    return time.time_ns() // 1_000_000
