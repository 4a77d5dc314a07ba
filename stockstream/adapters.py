"""Settings turned into what workers and commands talk to servers with.

Without Faust, which commands do not need and which takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.broker.topics import COMPACTED, TopicSpec
from stockstream.codecs.registry import Registry
from stockstream.core.allocation import ConnectionId
from stockstream.core.verdict import Policy
from stockstream.errors import SettingsError
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Tick
from stockstream.models.schema import AvroSchema
from stockstream.settings import Settings
from stockstream.sources.contract import CandleHistory, Feed, History, Poll
from stockstream.sources.limits import Window
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.trade_ids import watching_ids

if TYPE_CHECKING:  # the catalog has every venue imported, which commands without a venue need not wait for
    from stockstream.sources.catalog import Source


def connection_of(settings: Settings) -> Connection:
    """How to reach Kafka; `SettingsError` if the certificates' file cannot be used."""
    password = settings.kafka_sasl_password
    connection = Connection(
        settings.kafka_bootstrap_servers,
        settings.kafka_security_protocol,
        settings.kafka_sasl_mechanism,
        settings.kafka_sasl_username,
        None if password is None else password.get_secret_value(),
        None if settings.kafka_ssl_ca_file is None else str(settings.kafka_ssl_ca_file),
    )
    try:
        connection.aiokafka()
    except OSError as error:
        raise SettingsError(f"KAFKA_SSL_CA_FILE is {settings.kafka_ssl_ca_file}, which is no use: {error}") from error
    return connection


def registry_of(settings: Settings, timeout_s: float = 5.0) -> Registry:
    """The schema registry; close it."""
    password = settings.schema_registry_password
    return Registry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=None if password is None else password.get_secret_value(),
        timeout_s=timeout_s,
    )


def tick_producer(
    settings: Settings,
    connection: Connection,
    topic: str,
    encode: Callable[[Tick], bytes],
    now_ms: Callable[[], int],
    shed_after_s: float | None = None,
) -> TickProducer:
    """A producer of ticks, not started yet; ``shed_after_s`` stands above the setting."""
    return TickProducer(
        connection,
        topic,
        encode,
        now_ms=now_ms,
        linger_ms=settings.producer_linger_ms,
        compression=None if settings.producer_compression == "none" else settings.producer_compression,
        batch_bytes=settings.producer_batch_bytes,
        acks=settings.producer_acks,
        log_every_ticks=settings.log_every_ticks,
        buffer_ticks=settings.producer_buffer_ticks,
        shed_after_s=settings.producer_shed_after_s if shed_after_s is None else shed_after_s,
    )


def policy_of(settings: Settings) -> Policy:
    """What is accepted as a tick."""
    return Policy(
        settings.accepted_lateness_s * 1000,
        settings.future_tolerance_s * 1000,
        {exchange: delay_s * 1000 for exchange, delay_s in settings.feed_delay_s.items()},
    )


def feed_of(settings: Settings, source: Source, url: str | None = None) -> Feed:
    """A feed for one connection to ``url``, or to where the settings say that the source is."""
    return source.make_feed(url or settings.source_url(source.name) or source.url, **settings.chosen(source.settings))


def poll_of(settings: Settings, source: Source) -> Poll | None:
    """What the source is asked beside its stream; None if it has nothing to ask for, or the settings say never."""
    every_s = settings.poll_interval_s(source.name)
    if source.make_poll is None or not every_s:
        return None
    return source.make_poll(settings.source_rest_url(source.name) or source.rest_url, every_s)


def history_of(settings: Settings, source: Source) -> History | None:
    """What tells of the source's past, None if nothing does."""
    return None if source.make_history is None else source.make_history(_past_url(settings, source))


def candle_history_of(settings: Settings, source: Source) -> CandleHistory | None:
    """What tells of the candles that the source's venue makes itself, None if it has none; close it."""
    return None if source.make_candles is None else source.make_candles(_past_url(settings, source))


def _past_url(settings: Settings, source: Source) -> str:
    if source.rest_url:
        return settings.source_rest_url(source.name) or source.rest_url
    return settings.source_url(source.name) or source.url


def runner_of(
    source: Source,
    feed: Feed,
    symbols: Sequence[str],
    producer: TickProducer,
    connection: ConnectionId,
    *,
    now_ms: Callable[[], int],
    attempts: Window,
    poll: Poll | None,
) -> ConnectionRunner:
    """What keeps one connection of a source up and gives ``producer`` what comes on it; ``now_ms`` as there."""
    emit, offer = watching_ids(source.capabilities, producer, now_ms)
    return ConnectionRunner(
        feed,
        symbols,
        emit,
        now_ms=now_ms,
        offer=offer,
        name=str(connection),
        open_socket=source.open_socket,
        attempts=attempts,
        poll=poll,
    )


def subject_of(topic: str) -> str:
    """The subject of a topic's values."""
    return f"{topic}-value"


def tick_schema_of(settings: Settings) -> AvroSchema:
    """The version of the tick schema that is written."""
    return TICK_SCHEMA_V1 if settings.tick_schema == 1 else TICK_SCHEMA_V2


def subscriptions_topic(settings: Settings) -> TopicSpec:
    """The topic that says what is watched."""
    return TopicSpec(settings.topic("subscriptions"), settings.partitions, COMPACTED)
