"""The composition root: reads the settings, builds the Faust app, and wires what everything else only receives.

``faust -A stockstream worker`` runs ``app``. Exit codes: 0 stopped, 1 failed, 2 bad settings, 70 put out of the
consumer group while it had something to send; a supervisor starts it again after 1 and 70.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import faust
from aiokafka.helpers import create_ssl_context

from stockstream.agents import candles as candle_agent
from stockstream.agents.dead_letters import DeadLetters
from stockstream.agents.partition import CandleRules
from stockstream.agents.persist import Limits, Persister
from stockstream.agents.processor import CandleProcessor
from stockstream.broker.connection import Connection
from stockstream.broker.topics import COMPACTED, KEPT_7_DAYS, KEPT_30_DAYS, TopicSpec, ensure_topics
from stockstream.broker.transport import install, poison
from stockstream.codecs.avro import Decoder, Encoder, TickDecoder
from stockstream.codecs.registry import Registry
from stockstream.core.backoff import full_jitter
from stockstream.core.latest import is_as_late
from stockstream.core.verdict import Policy
from stockstream.errors import SettingsError, StockstreamError, Unreachable
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2, Candle, Latest
from stockstream.settings import Settings
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.tables import Tables, declare
from stockstream.web import routes
from stockstream.web.health import Check, live_view_check
from stockstream.web.live import LiveView
from stockstream.web.tables import TableViews

log = logging.getLogger(__name__)

_LIBRARIES = ("aiokafka", "faust", "mode", "httpx", "httpcore", "clickhouse_connect")
_LIVE_HISTORY_S = 1800.0  # what ClickHouse may lack while the sink lags; older candles come from there alone
_ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


class Worker(faust.Worker):
    """Faust's worker, which first prepares what the app needs and tells in one line why it cannot."""

    app: Any

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped."""
        try:
            self.loop.run_until_complete(self.app.runtime.prepare())
        except StockstreamError as error:
            end(error)
        super().execute_from_commandline()

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Libraries speak from WARNING up: Faust alone builds several DEBUG records a message."""
        super().on_setup_root_logger(logger, level)
        logger.setLevel(logging.NOTSET)
        logging.getLogger("stockstream").setLevel(self.app.runtime.settings.log_level.upper())
        for name in _LIBRARIES:
            logging.getLogger(name).setLevel(max(level, logging.WARNING))


class Runtime:
    """Everything that runs in one worker, and the order in which it starts and stops."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = connection_of(settings)
        self.app = faust_app(settings)
        self.app.runtime = self
        topics = [settings.topic(name) for name in settings.tick_topics]
        self.tables: Tables = declare(self.app, settings.partitions)
        self.registry = registry_of(settings)
        self._candle_encoder: Encoder | None = None
        self._latest_encoder: Encoder | None = None
        self.sink = sink_of(settings) if settings.sink_enabled else None
        dead_letters = DeadLetters(self.app, settings.topic("dead-letters"))
        rules = rules_of(settings)
        self.processor = CandleProcessor(
            self.app,
            self.tables,
            rules,
            topics=topics,
            candles_topic=settings.topic("candles"),
            latest_topic=settings.topic("latest"),
            encode_candle=self._encode_candle,
            encode_latest=self._encode_latest,
            decoder=TickDecoder(self.registry),
            dead_letters=dead_letters,
        )
        install(
            self.app,
            sources=topics,
            fetch_wait_ms=settings.fetch_wait_ms,
            is_newer=self.tables.is_newer(is_as_late),
            on_absorbed=self.processor.forget,
        )
        candle_agent.attach(self.app, self.app.topic(*topics, value_serializer="raw"), self.processor, self.fail)
        self._candle_decoder = Decoder(self.registry, Candle, CANDLE_SCHEMA)
        self._latest_decoder = Decoder(self.registry, Latest, LATEST_SCHEMA)
        self.live = LiveView(
            self.connection.aiokafka(),
            candles_topic=settings.topic("candles"),
            latest_topic=settings.topic("latest"),
            decode_candle=self._candle_decoder.decode,
            decode_latest=self._latest_decoder.decode,
            prepare=self._prepare_published,
            now_ms=_now_ms,
            history_s=_LIVE_HISTORY_S,
        )
        self.app.add_dependency(self.live)
        self.persister = self._persister(topics, rules, dead_letters)
        self._serve(topics)

    async def prepare(self) -> None:
        """Create and check topics, register schemas; waits for servers up to ``start_timeout_s``."""
        await self._patiently(self._ensure_topics)
        await self._patiently(self._ensure_schemas)
        if self.sink is not None:
            try:
                await self.sink.ping()
            except Unreachable as error:
                log.error("%s; candles are made all the same and inserted when it is back", error)

    async def close(self) -> None:
        """Let go of what the app does not own."""
        if self.sink is not None:
            await self.sink.close()
        await self.registry.close()
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.processor.verdicts.items())
        log.info("ticks: %s", counts or "none")

    def fail(self, error: BaseException) -> None:
        """End the worker for an error in its own work, uncommitted: a new start takes up from the last commit."""
        if isinstance(error, StockstreamError):
            log.critical("%s", error)
            end(error)
        log.critical("a batch failed", exc_info=error)
        poison(self.app, "the tables", error)

    async def _ensure_topics(self) -> None:
        s = self.settings
        ticks = [TopicSpec(s.topic(name), s.partitions, KEPT_7_DAYS) for name in s.tick_topics]
        ours = [
            TopicSpec(s.topic("candles"), s.partitions, KEPT_7_DAYS),
            TopicSpec(s.topic("latest"), s.partitions, COMPACTED),
            TopicSpec(s.topic("dead-letters"), s.partitions, KEPT_30_DAYS),
        ]
        changelogs = [TopicSpec(name, s.partitions, COMPACTED) for name in self.tables.changelogs]
        await ensure_topics(self.connection, [*ticks, *ours], s.replication, changelogs)

    async def _ensure_schemas(self) -> None:
        s = self.settings
        for name in s.tick_topics:
            schema = TICK_SCHEMA_V1 if s.tick_schema == 1 else TICK_SCHEMA_V2
            await self.registry.ensure(f"{s.topic(name)}-value", schema)
        candle_id = await self.registry.ensure(f"{s.topic('candles')}-value", CANDLE_SCHEMA)
        latest_id = await self.registry.ensure(f"{s.topic('latest')}-value", LATEST_SCHEMA)
        self._candle_encoder = Encoder(CANDLE_SCHEMA, candle_id)
        self._latest_encoder = Encoder(LATEST_SCHEMA, latest_id)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        give_up = time.monotonic() + self.settings.start_timeout_s
        for delay_s in full_jitter(0.5, 5.0, random.Random()):  # noqa: S311 - jitter is no secret
            try:
                return await step()
            except Unreachable as error:
                if time.monotonic() + delay_s > give_up:
                    raise
                log.error("%s; trying again for %.0f s", error, give_up - time.monotonic())
            await asyncio.sleep(delay_s)

    def _encode_candle(self, candle: Candle) -> bytes:
        if self._candle_encoder is None:
            raise RuntimeError("prepare() has not registered the schemas")
        return self._candle_encoder(candle)

    def _encode_latest(self, latest: Latest) -> bytes:
        if self._latest_encoder is None:
            raise RuntimeError("prepare() has not registered the schemas")
        return self._latest_encoder(latest)

    async def _prepare_published(self, values: Sequence[bytes]) -> None:
        await self._candle_decoder.prepare(values)
        await self._latest_decoder.prepare(values)

    def _persister(self, topics: list[str], rules: CandleRules, dead_letters: DeadLetters) -> Persister | None:
        if self.sink is None:
            return None
        s = self.settings
        persister = Persister(
            self.connection,
            f"{s.app_id}-sink",
            s.topic("candles"),
            topics if s.tick_archive else [],
            sink=self.sink,
            candle_decoder=Decoder(self.registry, Candle, CANDLE_SCHEMA),
            tick_decoder=TickDecoder(self.registry),
            judge=rules.policy.judge,
            dead_letter=dead_letters.deliver,
            limits=Limits(s.sink_rows, s.sink_interval_ms / 1000, s.sink_max_rows),
        )
        self.app.add_dependency(persister)
        return persister

    def _serve(self, topics: list[str]) -> None:
        views = TableViews(
            self.app, self.app.topic(topics[0]), self.processor, self._latest_decoder, self.tables.names, _now_ms
        )
        routes.install(
            self.app.web.web_app,
            live=self.live,
            sink=self.sink,
            tables=views,
            checks=[self._check_tables, lambda: live_view_check(self.live), self._check_sink],
            now_ms=_now_ms,
        )

    def _check_tables(self) -> Check:
        if self.app.rebalancing or self.app.tables.recovery.in_recovery:
            return Check("tables", ok=False, detail="partitions are being assigned or their rows recovered")
        return Check("tables", ok=True, detail=f"{len(self.app.consumer.assignment())} partitions")

    def _check_sink(self) -> Check:
        if self.persister is None:
            return Check("sink", ok=True, detail="disabled", required=False)
        health = self.persister.health()
        detail = health.degraded or f"{health.inserted} rows inserted, {health.buffered_rows} waiting"
        return Check("sink", ok=health.degraded is None, detail=detail, required=False)


class _App(faust.App):
    runtime: Runtime

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.runtime.close()


def faust_app(settings: Settings) -> Any:
    """The Faust app of these settings, without agents or tables."""
    host = socket.gethostname() if settings.web_host in _ANY_HOST else settings.web_host
    connection = connection_of(settings)
    return _App(
        settings.app_id,
        broker=";".join(f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")),
        broker_credentials=_credentials(connection),
        broker_max_poll_records=settings.fetch_max_records,
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_interval_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(30.0, 2 * settings.session_timeout_s),
        consumer_group_instance_id=settings.instance_id or None,
        consumer_auto_offset_reset="earliest",
        datadir=str(settings.data_dir),
        store="rocksdb://",
        producer_max_batch_size=1_000_000,
        stream_buffer_maxsize=64,  # batches, not records
        stream_wait_empty=True,
        table_standby_replicas=settings.standby_replicas,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        web_bind=settings.web_host,
        web_host=host,
        web_port=settings.web_port,
        Worker=Worker,
    )


def connection_of(settings: Settings) -> Connection:
    """How to reach Kafka by these settings."""
    password = settings.kafka_sasl_password
    return Connection(
        settings.kafka_bootstrap_servers,
        settings.kafka_security_protocol,
        settings.kafka_sasl_mechanism,
        settings.kafka_sasl_username,
        None if password is None else password.get_secret_value(),
        None if settings.kafka_ssl_ca_file is None else str(settings.kafka_ssl_ca_file),
    )


def _credentials(connection: Connection) -> Any:
    context = None
    if connection.security_protocol.endswith("SSL"):
        context = create_ssl_context(cafile=connection.ssl_ca_file)
    if connection.sasl_mechanism is not None:
        return faust.SASLCredentials(
            username=connection.sasl_username,
            password=connection.sasl_password,
            mechanism=connection.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def registry_of(settings: Settings) -> Registry:
    """The schema registry of these settings."""
    password = settings.schema_registry_password
    return Registry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=None if password is None else password.get_secret_value(),
    )


def sink_of(settings: Settings) -> ClickHouseSink:
    """The sink of these settings."""
    return ClickHouseSink(
        settings.clickhouse_login_url,
        database=settings.clickhouse_database,
        tick_retention_days=settings.tick_retention_days,
    )


def rules_of(settings: Settings) -> CandleRules:
    """What decides a candle by these settings."""
    return CandleRules(
        Policy(
            settings.accepted_lateness_s * 1000,
            settings.future_tolerance_s * 1000,
            {exchange: delay_s * 1000 for exchange, delay_s in settings.feed_delay_s.items()},
        ),
        int(settings.close_delay_s * 1000),
        settings.retention_s * 1000,
        settings.epoch,
    )


def end(error: StockstreamError) -> NoReturn:
    """Leave at once with one line: what is not committed is read again at the next start."""
    print(f"stockstream: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)


def _now_ms() -> int:
    return int(time.time() * 1000)


def load_app() -> Any:
    """The app of the environment's settings; a wrong setting ends the process with one line."""
    try:
        return Runtime(Settings.load()).app
    except SettingsError as error:
        end(error)


app = load_app()
