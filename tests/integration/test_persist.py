"""From Kafka into the sink, with outages, poison and moving partitions in between; nothing may be missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from uuid import uuid4

import clickhouse_connect
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from stockstream.agents.persist import Limits, Persister
from stockstream.broker.connection import Connection
from stockstream.errors import BadMessage, SinkUnreachable
from stockstream.models import Candle, Tick, Verdict
from stockstream.models.records import Records
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick, Sink
from stockstream.sinks.memory import MemorySink
from stockstream.testing.clickhouse import ClickHouseFacade, FaultMode
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.wait import wait_until_async

T0_MS = 1_700_000_040_000
SYMBOLS = [f"BINANCE:S{number}" for number in range(8)]


def candle(symbol: str, minute: int, version: int, **other: object) -> Candle:
    start = T0_MS + minute * 60_000
    made = Candle(
        symbol, "1m", "regular", start, start + 60_000, 1.0, 2.0, 0.5, 1.0 + version, None, None, None, False, version,
        start, start + 60_000,
    )  # fmt: skip
    return replace(made, **other)  # type: ignore[arg-type]


def tick(symbol: str, number: int) -> Tick:
    return Tick(symbol, T0_MS + number, 1.0 + number, 0.5)


def encoded(record: Candle | Tick) -> tuple[bytes, bytes]:
    return record.symbol.encode(), json.dumps(asdict(record)).encode()


def judge(tick: Tick) -> Verdict:
    return Verdict.LATE if tick.event_time % 2 else Verdict.ACCEPTED


class Json:
    """Stands for both decoders; what is no JSON is no record."""

    async def prepare(self, _values: Records) -> None: ...

    @staticmethod
    def read(value: bytes | None) -> dict[str, object]:
        try:
            read: dict[str, object] = json.loads(value or b"")
        except ValueError as error:
            raise BadMessage("no JSON") from error
        return read


class CandleJson(Json):
    def decode(self, value: bytes | None) -> Candle:
        return Candle(**self.read(value))  # type: ignore[arg-type]


class TickJson(Json):
    def decode(self, key: bytes | None, value: bytes | None) -> Tick:
        return Tick(**self.read(value))  # type: ignore[arg-type]


class DoorSink(MemorySink):
    """A sink that is away while ``shut``, and counts the rows that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shut = False
        self.attempts = 0
        self.given = 0

    def _enter(self, rows: int) -> None:
        self.attempts += 1
        if self.shut:
            raise SinkUnreachable("the door is shut")
        self.given += rows

    async def insert_candles(self, candles: Sequence[Candle]) -> None:
        self._enter(len(candles))
        await super().insert_candles(candles)

    async def insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        self._enter(len(ticks))
        await super().insert_ticks(ticks)


@dataclass
class Scene:
    """Topics of the test's own, what was written to them, and what was dead-lettered."""

    kafka: KafkaCluster
    name: str = field(default_factory=lambda: uuid4().hex)
    dead: list[tuple[str, int, int, bytes | None, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.candles, self.ticks = f"candles-{self.name}", f"ticks-{self.name}"
        for topic in (self.candles, self.ticks):
            self.kafka.topics.create(topic, 4)

    def produce(self, records: Sequence[Candle | Tick]) -> None:
        for topic, kind in ((self.candles, Candle), (self.ticks, Tick)):
            self.kafka.topics.produce(topic, [encoded(record) for record in records if isinstance(record, kind)])

    async def dead_letter(
        self, key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> None:
        self.dead.append((topic, partition, offset, value, reason))

    @asynccontextmanager
    async def persister(self, sink: Sink, limits: Limits | None = None) -> AsyncIterator[Persister]:
        persister = Persister(
            Connection(self.kafka.bootstrap),
            f"{self.name}-sink",
            self.candles,
            [self.ticks],
            sink=sink,
            candle_decoder=CandleJson(),
            tick_decoder=TickJson(),
            judge=judge,
            dead_letter=self.dead_letter,
            limits=limits or Limits(flush_rows=500, flush_s=0.05, drain_s=20),
        )
        await persister.start()
        try:
            yield persister
        finally:
            await persister.stop()

    def written(self) -> dict[tuple[str, int], int]:
        """The end of every partition that holds anything."""
        return {
            (topic, partition): end
            for topic in (self.candles, self.ticks)
            for partition, end in self.kafka.topics.end_offsets(topic).items()
            if end
        }

    async def committed(self) -> dict[tuple[str, int], int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(f"{self.name}-sink")
            return {(tp.topic, tp.partition): stored.offset for tp, stored in offsets.items() if stored.offset >= 0}
        finally:
            await admin.close()

    def places(self) -> set[tuple[str, int, int]]:
        """(topic, partition, offset) of every tick written."""
        return {(self.ticks, record.partition, record.offset) for record in self.kafka.topics.read(self.ticks)}


@pytest.fixture
def scene(kafka: KafkaCluster) -> Scene:
    return Scene(kafka)


async def caught_up(*persisters: Persister) -> None:
    async def all_at_zero() -> bool:
        return all([await persister.lag() == 0 for persister in persisters])

    await wait_until_async(all_at_zero, 60, "the lag to reach zero")


def holds(persister: Persister, rows: int) -> Callable[[], bool]:
    return lambda: persister.health().buffered_rows >= rows


async def test_through_an_outage_of_clickhouse(scene: Scene, clickhouse: ClickHouseFacade) -> None:
    database = f"persist_{scene.name}"
    sink = ClickHouseSink(clickhouse.url, database=database, connect_timeout_s=1, send_receive_timeout_s=2)
    async with scene.persister(sink) as persister:
        scene.produce([candle(s, minute, 1) for s in SYMBOLS for minute in range(20)])
        scene.produce([tick(s, number) for s in SYMBOLS for number in range(100)])
        await caught_up(persister)
        before = await scene.committed()
        assert before == scene.written()

        clickhouse.fault(FaultMode.REFUSE)
        for version in (2, 3, 4):
            scene.produce([candle(s, minute, version) for s in SYMBOLS for minute in range(15, 40)])
            scene.produce([tick(s, 1_000 * version + number) for s in SYMBOLS for number in range(100)])
        await wait_until_async(holds(persister, 8 * 25 + 3 * 8 * 100), 30, "everything to be read")
        health = persister.health()
        assert "the sink: ClickHouse at" in (health.degraded or "")
        assert health.oldest_unacknowledged_s > 0
        assert await persister.lag() == 3 * 8 * (25 + 100)
        assert await scene.committed() == before

        clickhouse.clear()
        await caught_up(persister)
        assert await scene.committed() == scene.written()
        health = persister.health()
        assert (health.degraded, health.buffered_rows, health.oldest_unacknowledged_s) == (None, 0, 0.0)

        modes = (FaultMode.SERVER_ERROR, FaultMode.MEMORY, FaultMode.PARTS, FaultMode.HANG)
        for mode in modes:
            clickhouse.fault(mode, match="INSERT INTO")
        clickhouse.fault(FaultMode.LOST, match="`ticks`")
        scene.produce([candle(s, minute, 5) for s in SYMBOLS for minute in range(39, 42)])
        scene.produce([tick(s, 9_000 + number) for s in SYMBOLS for number in range(100)])
        await caught_up(persister)
        assert await scene.committed() == scene.written()
        assert persister.health().failures >= health.failures + len(modes)

    for symbol in SYMBOLS:
        expected = [candle(symbol, minute, 1 if minute < 15 else 4 if minute < 39 else 5) for minute in range(42)]
        assert await sink.candles(symbol, "1m", None, None, 1_000) == expected
    client = clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, database=database)
    rows = client.query("SELECT topic, `partition`, `offset`, event_time, verdict FROM ticks FINAL").result_rows
    assert len(rows) == len(SYMBOLS) * 500
    assert {row[:3] for row in rows} == scene.places()
    assert all((row[4] == "late") == bool(row[3] % 2) for row in rows)
    await sink.close()


async def test_a_sink_that_is_away_at_the_start_is_waited_for(scene: Scene, clickhouse: ClickHouseFacade) -> None:
    clickhouse.fault(FaultMode.REFUSE)
    sink = ClickHouseSink(clickhouse.url, database=f"persist_{scene.name}", connect_timeout_s=1)
    scene.produce([candle("A", 0, 1)])
    async with scene.persister(sink) as persister:
        await wait_until_async(holds(persister, 1), 30, "the candle to be read")
        await wait_until_async(lambda: persister.health().degraded, 30, "the sink to be missed")
        assert await scene.committed() == {}
        clickhouse.clear()
        await caught_up(persister)
    assert await sink.candles("A", "1m", None, None, 9) == [candle("A", 0, 1)]
    await sink.close()


async def test_rows_that_never_fit_are_dead_lettered_and_the_others_stored(
    scene: Scene, clickhouse: ClickHouseFacade
) -> None:
    sink = ClickHouseSink(clickhouse.url, database=f"persist_{scene.name}")
    bad = candle("A", 5, 1, trades=-1)
    scene.produce([bad if minute == 5 else candle("A", minute, 1) for minute in range(40)])
    scene.produce([tick("A", number) for number in range(10)])
    scene.kafka.topics.produce(scene.candles, [(b"A", b"\xff no candle")])
    scene.kafka.topics.produce(scene.ticks, [(b"A", b"\xff no tick")])
    async with scene.persister(sink) as persister:
        await caught_up(persister)
        health = persister.health()
    assert sorted((topic, value, reason) for topic, _, _, value, reason in scene.dead) == sorted(
        [(scene.candles, encoded(bad)[1], "refused by the sink"), (scene.candles, b"\xff no candle", "corrupt")]
    )
    assert (health.dead_lettered, health.undecodable, health.inserted) == (2, 2, 39 + 10)
    assert await sink.candles("A", "1m", None, None, 99) == [candle("A", n, 1) for n in range(40) if n != 5]
    assert await scene.committed() == scene.written()
    await sink.close()


async def test_full_buffers_stop_the_reading_and_nothing_is_lost(scene: Scene) -> None:
    sink = DoorSink()
    sink.shut = True
    scene.produce([tick(SYMBOLS[number % 8], number) for number in range(6_000)])
    limits = Limits(flush_rows=200, flush_s=0.02, max_rows=1_000, drain_s=20)
    async with scene.persister(sink, limits) as persister:
        await wait_until_async(holds(persister, 1_000), 30, "the buffers to fill")
        consumer = persister._reader._consumer
        await wait_until_async(lambda: len(consumer.paused()) == 8, 30, "the partitions to be paused")
        attempts = sink.attempts
        await wait_until_async(lambda: sink.attempts >= attempts + 3, 30, "more attempts")
        assert persister.health().buffered_rows < 1_000 + 500
        assert await scene.committed() == {}
        assert await persister.lag() == 6_000
        sink.shut = False
        await caught_up(persister)
    assert set(sink.stored_ticks) == scene.places()
    assert sink.given == 6_000
    assert await scene.committed() == scene.written()


async def test_an_outage_costs_as_many_rows_as_candles_changed(scene: Scene) -> None:
    sink = DoorSink()
    sink.shut = True
    scene.produce([candle("A", minute, version) for version in range(1, 301) for minute in range(10)])
    limits = Limits(flush_rows=10_000, flush_s=0.02, max_rows=1_000, drain_s=20)
    async with scene.persister(sink, limits) as persister:
        await wait_until_async(holds(persister, 1), 30, "the first candle")

        async def all_read() -> bool:
            consumer = persister._reader._consumer
            read = [await consumer.position(tp) for tp in consumer.assignment()]
            return sum(read) == 3_000

        await wait_until_async(all_read, 30, "all candles to be read")
        await wait_until_async(lambda: persister.health().buffered_rows == 10, 30, "ten candles to be held")
        sink.shut = False
        await caught_up(persister)
    assert [c.version for c in await sink.candles("A", "1m", None, None, 99)] == [300] * 10


async def test_partitions_that_move_during_an_outage_lose_nothing(scene: Scene) -> None:
    sinks = [DoorSink(), DoorSink()]
    sinks[0].shut = True
    scene.produce([tick(SYMBOLS[number % 8], number) for number in range(2_000)])
    scene.produce([candle(s, minute, version) for version in (1, 2) for s in SYMBOLS for minute in range(20)])
    async with scene.persister(sinks[0]) as first:
        await wait_until_async(holds(first, 2_000 + 160), 30, "the first to hold everything")
        async with scene.persister(sinks[1]) as second:
            await wait_until_async(lambda: len(sinks[1].stored_ticks) >= 500, 60, "the second to store its part")
            await caught_up(second)
            scene.produce([tick(SYMBOLS[number % 8], 5_000 + number) for number in range(400)])
            await wait_until_async(lambda: first.health().buffered_rows, 30, "the first to hold its part")
            assert not sinks[0].stored_ticks
            sinks[0].shut = False
            await caught_up(first, second)
        await caught_up(first)
    assert set(sinks[0].stored_ticks) | set(sinks[1].stored_ticks) == scene.places()
    for symbol in SYMBOLS:
        found = [c for sink in sinks for c in await sink.candles(symbol, "1m", None, None, 99)]
        assert {(c.window_start, c.version) for c in found} == {(T0_MS + n * 60_000, 2) for n in range(20)}
    assert await scene.committed() == scene.written()


async def test_a_shutdown_inserts_what_is_held(scene: Scene) -> None:
    sink = DoorSink()
    scene.produce([tick("A", number) for number in range(100)])
    async with scene.persister(sink, Limits(flush_rows=10_000, flush_s=3_600, drain_s=20)) as persister:
        await wait_until_async(holds(persister, 100), 30, "all ticks to be read")
        assert not sink.stored_ticks
    assert set(sink.stored_ticks) == scene.places()
    assert await scene.committed() == scene.written()


async def test_a_shutdown_leaves_what_cannot_be_inserted_to_the_next_start(scene: Scene) -> None:
    sink = DoorSink()
    sink.shut = True
    scene.produce([tick("A", number) for number in range(100)])
    async with scene.persister(sink, Limits(flush_rows=10, flush_s=0.02, drain_s=0.5)) as persister:
        await wait_until_async(holds(persister, 100), 30, "all ticks to be read")
    assert await scene.committed() == {}
    sink.shut = False
    async with scene.persister(sink) as persister:
        await caught_up(persister)
    assert set(sink.stored_ticks) == scene.places()


async def test_a_dead_letter_that_cannot_be_sent_holds_the_commit_back(scene: Scene) -> None:
    away = asyncio.Event()
    send: Callable[..., Awaitable[None]] = scene.dead_letter

    async def dead_letter(*arguments: object) -> None:
        if not away.is_set():
            raise SinkUnreachable("dead-letters do not answer")
        await send(*arguments)

    scene.dead_letter = dead_letter  # type: ignore[method-assign, assignment]
    scene.kafka.topics.produce(scene.candles, [(b"A", b"?")])
    async with scene.persister(DoorSink()) as persister:
        await wait_until_async(lambda: persister.health().failures >= 2, 30, "attempts to fail")
        assert await scene.committed() == {}
        away.set()
        await caught_up(persister)
    assert len(scene.dead) == 1
    assert await scene.committed() == scene.written()
