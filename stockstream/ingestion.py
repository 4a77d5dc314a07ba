"""Wires what watches symbols in a worker: subscriptions, connections and producers."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from stockstream.adapters import feed_of, history_of, poll_of, runner_of, subject_of, subscriptions_topic, tick_producer
from stockstream.agents import subscriptions as subscriptions_agent
from stockstream.agents.ingest import Ingest
from stockstream.agents.ingest_report import Report, Reporter
from stockstream.agents.liveness import Liveness
from stockstream.agents.repair import Prospects, Repairer
from stockstream.broker.connection import Connection
from stockstream.broker.sender import Sender
from stockstream.broker.topics import key_partition
from stockstream.broker.transport import active_partitions, is_settled
from stockstream.codecs.avro import Decoder, Encoder
from stockstream.codecs.registry import Registry
from stockstream.core.allocation import ConnectionId
from stockstream.errors import BrokerUnreachable, InvalidInput
from stockstream.models import SUBSCRIPTION_SCHEMA, Subscription, Tick
from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES, Source, source_of
from stockstream.sources.contract import Guarded
from stockstream.sources.credentials import refused_key
from stockstream.sources.limits import attempts_of
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.status import Status
from stockstream.tables import Tables
from stockstream.tables.gaps import GapLedger
from stockstream.tables.subscriptions import Subscriptions

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


class Ingestion:
    """Everything of a worker that has to do with sockets."""

    def __init__(
        self,
        settings: Settings,
        app: Any,
        connection: Connection,
        registry: Registry,
        tables: Tables,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._app = app
        self._registry = registry
        self._encoders: dict[str, Encoder] = {}
        self.topic = subscriptions_topic(settings).name
        self._sender = Sender(connection)
        self._decoder = Decoder(registry, Subscription, SUBSCRIPTION_SCHEMA)
        self.subscriptions = Subscriptions(
            connection.aiokafka(),
            self.topic,
            encode=self._encode_subscription,
            decode=self._decoder.decode,
            prepare=self._decoder.prepare,
            send=self._sender.to(self.topic),
            now_ms=now_ms,
        )
        self._liveness = Liveness(
            connection.aiokafka(),
            settings.topic("connections"),
            worker=uuid.uuid4().hex,
            send=self._sender.to(settings.topic("connections")),
            now_ms=now_ms,
        )
        self._sources = [source for source in SOURCES.values() if source.topic in settings.tick_topics]
        # What is wrong with a source's settings is told before anything starts.
        capabilities = {source.name: feed_of(settings, source).capabilities for source in self._sources}
        self.producers = {
            source.name: tick_producer(
                settings, connection, settings.topic(source.topic), self._encode_tick(source), now_ms
            )
            for source in self._sources
        }
        self._polls = {source.name: poll_of(settings, source) for source in self._sources}
        self._attempts = {source.name: attempts_of(source.capabilities) for source in self._sources}
        reports = {
            name: Report(name, producer, partial(self._statuses, name), now_ms=now_ms)
            for name, producer in self.producers.items()
        }
        self._reporter = Reporter(reports, settings.report_interval_s, now_ms=now_ms)
        self.ingest = Ingest(
            self.subscriptions,
            self._liveness,
            emitters=self.producers,
            symbols_per_connection=lambda name: capabilities[name].symbols_per_connection,
            connections=lambda name: capabilities[name].connections,
            make_runner=self._runner,
            partition_of=self._partition_of,
            owned=self._owned,
            has_peers=self._has_peers,
            reporter=self._reporter,
            now_ms=now_ms,
        )
        self._now_ms = now_ms
        histories = {source.name: history_of(settings, source) for source in self._sources}
        self._histories = {
            name: history
            for name, history in histories.items()
            if history is not None and settings.tick_schema != 1  # it cannot say that a hole is repaired
        }
        self.gaps = GapLedger(
            connection.aiokafka(),
            settings.topic("gaps"),
            send=self._sender.to(settings.topic("gaps")),
            hopeless=Prospects(self._histories, settings.retention_s * 1000, now_ms).hopeless,
            now_ms=now_ms,
        )
        self.repairer = Repairer(
            self.gaps,
            self._histories,
            self.producers,
            partition_of=self._partition_of,
            owned=self._at_work,
            now_ms=now_ms,
        )
        subscriptions_agent.attach(app, app.topic(self.topic, value_serializer="raw"), tables.subscriptions)
        app.add_dependency(self.subscriptions.follower)
        app.add_dependency(self._liveness.follower)
        # Before the consumer, and so stopped after it: others take over the sockets when we have left the group.
        app.add_dependency(self.ingest)
        app.add_dependency(self.gaps.follower)
        if settings.repair_enabled and self._histories:
            app.add_dependency(self.repairer)

    def tell_missing_keys(self) -> None:
        """Log an error for each source that symbols of the settings belong to, and that lacks a key."""
        for feed in self._guarded():
            if (lack := feed.lacks()) is not None:
                log.error("%s", lack)

    async def tell_refused_keys(self) -> None:
        """Log an error for each key that a venue refuses when it is asked for an access token."""
        for feed in self._guarded():
            if feed.lacks() is None and (refusal := await refused_key(feed)) is not None:
                log.error("%s", refusal)

    def _guarded(self) -> Iterator[Guarded]:
        """A feed of each source that is to be watched by the settings, and asks for credentials."""
        if not self._settings.ingest_enabled:
            return
        wanted: set[str] = set()
        for symbol in self._settings.all_symbols():
            with suppress(InvalidInput):  # told when it is to be subscribed
                wanted.add(source_of(symbol).name)
        for source in self._sources:
            feed = feed_of(self._settings, source)
            if source.name in wanted and isinstance(feed, Guarded):
                yield feed

    async def prepare(self, tick_schema: dict[str, Any]) -> None:
        """Register the schemas that are written; what they are is needed before anything starts."""
        self._encoders["subscriptions"] = Encoder(
            SUBSCRIPTION_SCHEMA, await self._registry.ensure(subject_of(self.topic), SUBSCRIPTION_SCHEMA)
        )
        for source in self._sources:
            subject = subject_of(self._settings.topic(source.topic))
            self._encoders[source.name] = Encoder(tick_schema, await self._registry.ensure(subject, tick_schema))

    async def start(self) -> None:
        """Connect the producers, seed the subscriptions, and begin to watch."""
        for start in (self._sender.start, *(producer.start for producer in self.producers.values())):
            await self._once_reached(start)
        self.repairer.begin()
        while not (self.subscriptions.follower.ready or self._app.should_stop):
            await self._app.sleep(0.1)
        wanted = self._settings.all_symbols()
        for symbol in wanted:
            source = source_of(symbol)
            if source.topic not in self._settings.tick_topics:
                log.warning("%s is not watched here: add %s to STOCKSTREAM_TICK_TOPICS", symbol, source.topic)
            await self._once_reached(partial(self.subscriptions.add, [symbol], source.name, "settings"))
        if self._settings.ingest_enabled:
            self._reporter.started(len({*wanted, *self.subscriptions.watched}))
            self.ingest.begin()

    async def _once_reached(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step of the start, again and again while the brokers that were there a moment ago are away."""
        while not self._app.should_stop:
            try:
                await step()
                return
            except BrokerUnreachable as error:
                log.warning("watching no symbols yet: %s", error)
                await self._app.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Write what was received, and leave."""
        for producer in self.producers.values():
            await producer.close()
        for poll in self._polls.values():
            if poll is not None:
                await poll.close()
        await self._sender.close()
        self._reporter.print_tables(sys.__stdout__)  # sys.stdout may have been turned into a logger

    def _statuses(self, source: str) -> Iterable[Status]:
        return [status for connection, status in self.ingest.status().items() if connection.source == source]

    def _runner(self, connection: ConnectionId, symbols: Sequence[str]) -> ConnectionRunner:
        source = SOURCES[connection.source]
        return runner_of(
            source,
            feed_of(self._settings, source),
            symbols,
            self.producers[source.name],
            connection,
            now_ms=self._now_ms,
            attempts=self._attempts[source.name],
            poll=self._polls[source.name],
        )

    def _at_work(self) -> set[int]:
        """The partitions whose candles this worker makes."""
        topics = [self._settings.topic(source.topic) for source in self._sources]
        return {tp.partition for tp in active_partitions(self._app, topics)} if is_settled(self._app) else set()

    def _owned(self) -> set[int] | None:
        if not is_settled(self._app):
            return None
        return {tp.partition for tp in active_partitions(self._app, [self.topic])}

    def _partition_of(self, key: bytes) -> int:
        return key_partition(key, self._settings.partitions)

    def _has_peers(self) -> bool:
        return len(self._app.router.external_topics_metadata()) > 1

    def _encode_subscription(self, subscription: Subscription) -> bytes:
        return self._encoders["subscriptions"](subscription)

    def _encode_tick(self, source: Source) -> Callable[[Tick], bytes]:
        return lambda tick: self._encoders[source.name](tick)
