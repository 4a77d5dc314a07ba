"""The composition root: reads the settings, builds the Faust app, and wires what everything else only receives.

``faust -A stockstream worker`` runs ``app``. Exit codes: 0 stopped, 1 failed, 2 bad settings, 70 put out of the
consumer group while it had something to send; a supervisor starts it again after 1 and 70.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NoReturn

import faust

from stockstream.access import guard_of, keys_of, tell_who_may_read
from stockstream.adapters import (
    connection_of,
    registry_of,
    rules_of,
    sink_of,
    subject_of,
    tick_schema_of,
    topics_of,
)
from stockstream.agents import candles as candle_agent
from stockstream.agents.dead_letters import DeadLetters
from stockstream.agents.persist import Limits, Persister
from stockstream.agents.processor import CandleProcessor
from stockstream.broker.kept import RetentionWatch, retention_left
from stockstream.broker.pace import pace_of
from stockstream.broker.stores import store_failure
from stockstream.broker.topics import COMPACTED, TopicSpec, ensure_topics
from stockstream.broker.transport import active_partitions, install, poison
from stockstream.codecs.avro import CandleDecoder, Decoder, Encoder, TickDecoder
from stockstream.codecs.whole import WholeCandleDecoder, WholeTickDecoder
from stockstream.core.latest import is_as_late
from stockstream.core.rules import CandleRules
from stockstream.core.trading import Trading
from stockstream.errors import SettingsError, StockstreamError, TopicMismatch, Unreachable
from stockstream.faust_app import faust_app, serve_impatiently
from stockstream.ingestion import Ingestion
from stockstream.logs import Repeats
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, Candle, Latest
from stockstream.settings import Settings
from stockstream.sources.catalog import source_of
from stockstream.startup import (
    check_port,
    claim,
    collect_seldom,
    end,
    leave,
    leave_on_signals,
    patiently,
    take_turns_often,
)
from stockstream.status import Status
from stockstream.tables import Tables, declare
from stockstream.web import routes
from stockstream.web.live import LiveView
from stockstream.web.subscriptions import SubscriptionViews
from stockstream.web.tables import TableViews

log = logging.getLogger(__name__)

_LIVE_HISTORY_S = 1800.0  # what ClickHouse may lack while the sink lags; older candles come from there alone
_SAVE_SPREAD_S = 0.02
_DRAIN_S = 2.0  # what is not in the sink by then is read again
_ASK_FOR_KEYS_S = 2.0
_STOP_S = 30.0  # more than any part of a stop may take while the brokers answer
_STDERR = 2  # by its number: where workers log, sys.stderr is no file


class Worker(faust.Worker):
    """Faust's worker, which first prepares what the app needs and tells in one line why it cannot."""

    app: Any

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped."""
        if not sys.stdout.isatty():
            self.spinner = None  # it would write control characters into a log
        self._setup_logging()
        self.override_logging = False  # not once more
        faulthandler.enable(_STDERR)  # a crash in compiled code says where
        leave_on_signals(self.loop)
        try:
            self.loop.run_until_complete(self.app.runtime.prepare())
        except StockstreamError as error:
            end(error)
        collect_seldom()
        take_turns_often()
        try:
            super().execute_from_commandline()
        except SystemExit as ended:
            leave(ended.code)

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """We speak as the settings say, libraries from WARNING up: Faust alone has several DEBUG records a message."""
        super().on_setup_root_logger(logger, level)
        for handler in logger.handlers:
            handler.setLevel(logging.NOTSET)
            handler.addFilter(Repeats())
        for name in ("", "faust", "mode"):
            logging.getLogger(name).setLevel(max(level, logging.WARNING))
        logging.getLogger("stockstream").setLevel(self.app.runtime.settings.log_level.upper())
        for name in ("urllib3", "clickhouse_connect"):  # every attempt, in several lines; we tell the first
            logging.getLogger(name).setLevel(logging.ERROR)


class Runtime:
    """Everything that runs in one worker, and the order in which it starts and stops."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._claimed: IO[str] | None = None
        self.connection = connection_of(settings)
        self.app = faust_app(settings, _App, Worker)
        self.app.runtime = self
        topics = [settings.topic(name) for name in settings.tick_topics]
        self.tables: Tables = declare(self.app, settings.partitions)
        self.registry = registry_of(settings)
        self._candle_encoder: Encoder | None = None
        self._latest_encoder: Encoder | None = None
        self.sink = sink_of(settings) if settings.sink_enabled else None
        self.dead_letters = dead_letters = DeadLetters(self.app, settings.topic("dead-letters"))
        rules = rules_of(settings)
        self._tick_decoder = TickDecoder(self.registry)
        self.processor = CandleProcessor(
            self.app,
            self.tables,
            rules,
            topics=topics,
            candles_topic=settings.topic("candles"),
            latest_topic=settings.topic("latest"),
            gaps_topic=settings.topic("gaps"),
            encode_candle=self._encode_candle,
            encode_latest=self._encode_latest,
            decoder=self._tick_decoder,
            dead_letters=dead_letters,
            candles_sent=lambda *sent: self.live.take_sent(*sent),
            prices_sent=lambda *sent: self.live.take_sent_prices(*sent),
        )
        self.ingestion = Ingestion(settings, self.app, self.connection, self.registry, self.tables, _now_ms)
        install(
            self.app,
            sources=[topics, [self.ingestion.topic]],
            pace=pace_of(settings.latency_budget, settings.partition_fetch_bytes),
            is_newer=self.tables.is_newer(is_as_late),
            on_absorbed=self.processor.forget,
            before_commit=self._save,
        )
        candle_agent.attach(self.app, self.app.topic(*topics, value_serializer="raw"), self.processor, self.fail)
        self._candle_decoder = CandleDecoder(self.registry)
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
            is_alone=lambda: len(active_partitions(self.app, topics)) == settings.partitions * len(topics),
        )
        self.app.add_dependency(self.live)
        self.app.task(self.ingestion.start)
        self.persister = self._persister(topics, rules, dead_letters)
        groups = {settings.app_id: topics}
        if self.persister is not None:
            groups[self.persister.group_id] = self.persister.topics
        self.kept = RetentionWatch(lambda: retention_left(self.connection, groups, _now_ms()))
        self.app.add_dependency(self.kept)
        self.keys = keys_of(settings)
        self.guard = guard_of(settings, self.keys, _now_ms)
        self._serve(topics, rules.trading)

    @property
    def topics(self) -> list[TopicSpec]:
        """All that it needs, those of the tables apart."""
        return topics_of(self.settings)

    @property
    def changelogs(self) -> list[TopicSpec]:
        """The topics of its tables."""
        return [TopicSpec(name, self.settings.partitions, COMPACTED) for name in self.tables.changelogs]

    async def prepare(self) -> None:
        """Claim the data folder, check the web port, the topics and the schemas; waits for servers if need be."""
        conf = self.app.conf
        self._claimed = claim(conf.datadir)
        if conf.web_enabled:
            await check_port(conf.web_bind, conf.web_port)
            tell_who_may_read(self.settings, self.keys)
        self.ingestion.tell_missing_keys()
        asking = asyncio.create_task(self._ask_for_keys())
        try:
            await patiently([self._ensure_topics, self._ensure_schemas], self.settings.start_timeout_s)
        finally:
            asking.cancel()
        if self.sink is not None and self.settings.clickhouse_url.startswith("chdb:"):
            with suppress(Unreachable):  # the persister says so, and tries again
                await self.sink.start()

    async def _ask_for_keys(self) -> None:
        # Servers that answer are reached sooner, and then the connection itself shows what its key is worth.
        await asyncio.sleep(_ASK_FOR_KEYS_S)
        await self.ingestion.tell_refused_keys()

    async def close(self) -> None:
        """Let go of what the app does not own."""
        await self.ingestion.close()
        if self.sink is not None:
            await self.sink.close()
        await self.registry.close()
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.processor.verdicts.items())
        log.info("ticks: %s", counts or "none")

    def give_up(self) -> NoReturn:
        """Leave although the stop is not done: Faust would wait for brokers that do not answer."""
        end(Unreachable(f"not stopped within {_STOP_S:g} s, so left: what is not committed is read again"))

    def end_if_told(self, error: BaseException) -> None:
        """End the process for an error that a line can tell, as of a full disk; else do nothing."""
        told = error if isinstance(error, StockstreamError) else store_failure(error, self.app.conf.datadir)
        if told is not None:
            end(told)

    async def fail(self, error: BaseException) -> None:
        """End the worker for an error in its own work, uncommitted: a new start takes up from the last commit."""
        if isinstance(error, TopicMismatch):
            # What others have done is not to be read again in another epoch, where it would count twice.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.app.consumer.commit(), _DRAIN_S)
        self.end_if_told(error)
        log.critical("a batch failed", exc_info=error)
        poison(self.app, "the tables", error)

    async def _save(self) -> None:
        try:
            await self.processor.save(_SAVE_SPREAD_S)
        except Exception as error:
            await self.fail(error)
            raise

    async def _ensure_topics(self) -> None:
        await ensure_topics(self.connection, self.topics, self.settings.replication, self.changelogs)

    async def _ensure_schemas(self) -> None:
        s = self.settings
        schema = tick_schema_of(s)
        await self.ingestion.prepare(schema)
        for name in s.tick_topics:
            await self.registry.ensure(subject_of(s.topic(name)), schema)
        candle_id = await self.registry.ensure(subject_of(s.topic("candles")), CANDLE_SCHEMA)
        latest_id = await self.registry.ensure(subject_of(s.topic("latest")), LATEST_SCHEMA)
        self._candle_encoder = Encoder(CANDLE_SCHEMA, candle_id)
        self._latest_encoder = Encoder(LATEST_SCHEMA, latest_id)

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
        candles, ticks = WholeCandleDecoder(self.registry), WholeTickDecoder(self.registry, rules.policy)
        persister = Persister(
            self.connection,
            f"{s.app_id}-sink",
            s.topic("candles"),
            topics if s.tick_archive else [],
            sink=self.sink,
            candle_decoder=candles,
            tick_decoder=ticks,
            candle_columns=candles,
            tick_columns=ticks,
            judge=rules.policy.judge,
            dead_letter=dead_letters.deliver,
            limits=Limits(s.sink_rows, s.sink_interval_ms / 1000, s.sink_max_rows, drain_s=_DRAIN_S),
        )
        self.app.add_dependency(persister)
        return persister

    def _serve(self, topics: list[str], trading: Trading) -> None:
        views = TableViews(
            self.app, self.app.topic(topics[0]), self.processor, self._latest_decoder, self.tables.names, _now_ms
        )
        status = Status(
            self.app,
            processor=self.processor,
            decoder=self._tick_decoder,
            live=self.live,
            dead_letters=self.dead_letters,
            ingestion=self.ingestion,
            persister=self.persister,
            kept=self.kept,
            keys=self.keys,
            guard=self.guard,
        )
        routes.install(
            self.app.web.web_app,
            live=self.live,
            sink=self.sink,
            tables=views,
            subscriptions=SubscriptionViews(self.ingestion.subscriptions, lambda symbol: source_of(symbol).name),
            gaps=self.ingestion.gaps,
            checks=status.checks(),
            now_ms=_now_ms,
            trading=trading,
            metrics=status.metrics(),
            guard=self.guard,
        )
        serve_impatiently(self.app)


class _App(faust.App):
    runtime: Runtime

    def _crash(self, reason: BaseException) -> None:
        self.runtime.end_if_told(reason)
        super()._crash(reason)

    async def on_stop(self) -> None:
        asyncio.get_running_loop().call_later(_STOP_S, self.runtime.give_up)
        await super().on_stop()

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.runtime.close()


def _now_ms() -> int:
    return int(time.time() * 1000)


@functools.cache
def load_app() -> Any:
    """The app of the environment's settings; a wrong setting ends the process with one line."""
    try:
        return Runtime(Settings.load()).app
    except SettingsError as error:
        end(error)
