"""Settings turned into what workers and commands talk to servers with.

Without Faust, which commands do not need and which takes long to import.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.broker.topics import COMPACTED, KEPT_7_DAYS, KEPT_30_DAYS, TopicSpec
from stockstream.calendars import calendars_in, hours_of
from stockstream.codecs.registry import Registry
from stockstream.core.allocation import ConnectionId
from stockstream.core.rules import CandleRules
from stockstream.core.trading import Hours, Trading
from stockstream.core.verdict import Policy
from stockstream.errors import SettingsError
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Tick
from stockstream.models.schema import AvroSchema
from stockstream.settings import Settings
from stockstream.settings.sources import variable
from stockstream.sources.contract import CandleHistory, Feed, History, Poll
from stockstream.sources.limits import Window
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.trade_ids import watching_ids

if TYPE_CHECKING:  # the catalog has every venue imported, which commands without a venue need not wait for
    from stockstream.sinks.clickhouse import ClickHouseSink
    from stockstream.sources.catalog import Source


def connection_of(settings: Settings) -> Connection:
    """How to reach Kafka; `SettingsError` if a certificate's file cannot be used."""
    trusting(settings.kafka_ssl_ca_file, "kafka_ssl_ca_file")
    connection = Connection(
        settings.kafka_bootstrap_servers,
        settings.kafka_security_protocol,
        settings.kafka_sasl_mechanism,
        settings.kafka_sasl_username,
        _revealed(settings.kafka_sasl_password),
        _text(settings.kafka_ssl_ca_file),
        _text(settings.kafka_ssl_cert_file),
        _text(settings.kafka_ssl_key_file),
        _revealed(settings.kafka_ssl_key_password),
    )
    try:
        connection.aiokafka()
    except OSError as error:
        key = settings.kafka_ssl_key_file or "in it"
        raise SettingsError(
            f"KAFKA_SSL_CERT_FILE is {settings.kafka_ssl_cert_file} and its key {key}, which is no use: {error} "
            "(see KAFKA_SSL_KEY_FILE, and KAFKA_SSL_KEY_PASSWORD if the key is encrypted)"
        ) from error
    return connection


def trusting(file: Path | None, setting: str) -> ssl.SSLContext | None:
    """TLS with a server that the authorities in ``file`` vouch for; None without a file: the usual ones do.

    Raises `SettingsError`, which names the setting, if the file cannot be used.
    """
    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise SettingsError(f"{variable(setting)} is {file}, which is no use: {error}") from error


def registry_of(settings: Settings, timeout_s: float = 5.0) -> Registry:
    """The schema registry; close it."""
    return Registry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=_revealed(settings.schema_registry_password),
        timeout_s=timeout_s,
        tls=trusting(settings.schema_registry_ca_file, "schema_registry_ca_file"),
    )


def clickhouse_ca_of(settings: Settings) -> str | None:
    """The file with the authorities that vouch for ClickHouse; `SettingsError` if it cannot be used."""
    trusting(settings.clickhouse_ca_file, "clickhouse_ca_file")
    return _text(settings.clickhouse_ca_file)


def sink_of(settings: Settings) -> ClickHouseSink:
    """ClickHouse, not connected yet, to be written to or read; close it."""
    from stockstream.sinks.clickhouse import ClickHouseSink

    return ClickHouseSink(
        settings.clickhouse_login_url,
        database=settings.clickhouse_database,
        tick_retention_days=settings.tick_retention_days,
        epoch=settings.epoch,
        ca_file=clickhouse_ca_of(settings),
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


def rules_of(settings: Settings) -> CandleRules:
    """What decides a candle."""
    return CandleRules(
        policy_of(settings),
        int(settings.close_delay_s * 1000),
        settings.retention_s * 1000,
        settings.epoch,
        trading_of(settings),
    )


def trading_of(settings: Settings) -> Trading:
    """The trading dates by the calendars of the exchanges that ticks name."""
    calendars = calendars_in(settings.calendars)

    def guess(symbol: str) -> Hours | None:
        from stockstream.sources.catalog import calendar_of

        return hours_of(calendar_of(calendars, symbol))

    return Trading(lambda source, exchange: hours_of(calendars.of_exchange(source, exchange)), guess)


def feed_of(settings: Settings, source: Source, url: str | None = None) -> Feed:
    """A feed for one connection to ``url``, or to where the settings say that the source is."""
    options = settings.chosen(source.settings)
    if source.has_hours:
        options["calendars"] = calendars_in(settings.calendars)
    return source.make_feed(url or settings.source_url(source.name) or source.url, **options)


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


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _text(file: Path | None) -> str | None:
    return None if file is None else str(file)


def subject_of(topic: str) -> str:
    """The subject of a topic's values."""
    return f"{topic}-value"


def tick_schema_of(settings: Settings) -> AvroSchema:
    """The version of the tick schema that is written."""
    return TICK_SCHEMA_V1 if settings.tick_schema == 1 else TICK_SCHEMA_V2


def subscriptions_topic(settings: Settings) -> TopicSpec:
    """The topic that says what is watched."""
    return TopicSpec(settings.topic("subscriptions"), settings.partitions, COMPACTED)


def topics_of(settings: Settings) -> list[TopicSpec]:
    """All that a worker needs, those of its tables apart."""
    s = settings
    return [
        *(TopicSpec(s.topic(name), s.partitions, KEPT_7_DAYS) for name in s.tick_topics),
        TopicSpec(s.topic("candles"), s.partitions, KEPT_7_DAYS, at_least=s.partitions),
        TopicSpec(s.topic("latest"), s.partitions, COMPACTED, at_least=s.partitions),
        TopicSpec(s.topic("dead-letters"), s.partitions, KEPT_30_DAYS, at_least=1),
        TopicSpec(s.topic("gaps"), s.partitions, KEPT_30_DAYS, at_least=s.partitions),
        subscriptions_topic(s),
        TopicSpec(s.topic("connections"), 1, COMPACTED, at_least=1),
    ]
