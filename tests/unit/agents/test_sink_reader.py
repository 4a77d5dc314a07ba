"""The reader's decisions, on a consumer that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from aiokafka import TopicPartition
from whole import OneSchema, candle_decoder, records_of

from stockstream.agents import sink_reader
from stockstream.agents.retry import Retry
from stockstream.agents.sink_reader import SinkReader
from stockstream.broker.connection import Connection
from stockstream.codecs.whole import WholeTickDecoder
from stockstream.core.verdict import Policy
from stockstream.errors import BadMessage, RegistryUnreachable
from stockstream.models import TICK_SCHEMA_V2, Candle, Tick, Verdict
from stockstream.models.records import Records
from stockstream.sinks.backlog import Backlog
from stockstream.sinks.buffer import SingleRecord
from stockstream.testing.wait import wait_until_async

TICKS = TopicPartition("yfinance", 0)
CANDLES = TopicPartition("candles", 0)


@dataclass(frozen=True)
class Message:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def ticks(*offsets: int, value: bytes = b"1.5") -> dict[TopicPartition, list[Message]]:
    return {TICKS: [Message("yfinance", 0, offset, b"AAPL", value) for offset in offsets]}


class Consumer:
    """Answers each poll with the next of ``fetches``, and says that the ticks end at offset 3."""

    def __init__(self, *fetches: object) -> None:
        self.fetches = list(fetches)
        self.held: set[TopicPartition] = set()
        self.sought: list[tuple[TopicPartition, int]] = []
        self.polls: list[bool] = []
        self.positions: dict[TopicPartition, int] = {}
        self.commits: dict[TopicPartition, int] = {}
        self.begins: dict[TopicPartition, int] = {}

    async def while_asked(self) -> None: ...

    def assignment(self) -> set[TopicPartition]:
        return {TICKS, CANDLES}

    def paused(self) -> set[TopicPartition]:
        return set(self.held)

    def pause(self, *partitions: TopicPartition) -> None:
        self.held |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.held -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await self.while_asked()
        return dict.fromkeys(partitions, 0) | {TICKS: 3}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self.begins.get(partition, 0) for partition in partitions}

    async def committed(self, partition: TopicPartition) -> int | None:
        return self.commits.get(partition)

    async def position(self, partition: TopicPartition) -> int:
        return self.positions.get(partition, 0)

    async def getmany(self, timeout_ms: int, max_records: int = 0) -> object:
        self.polls.append(bool(self.held))
        await asyncio.sleep(0)
        fetch = self.fetches.pop(0) if self.fetches else {}
        assert isinstance(fetch, dict)
        self.positions |= {partition: records[-1].offset + 1 for partition, records in fetch.items()}
        return {partition: [Records.of(records)] for partition, records in fetch.items()}


class Ticks:
    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.asked = asyncio.Event()
        self.errors: list[Exception] = []

    async def prepare(self, _values: Records) -> None:
        self.asked.set()
        if self.errors:
            raise self.errors.pop(0)
        await self.ready.wait()

    def decode(self, key: bytes | None, value: bytes | None) -> Tick:
        try:
            return Tick((key or b"").decode(), 1, float(value or b""))
        except ValueError as error:
            raise BadMessage(f"no number: {error}") from error


class Candles:
    async def prepare(self, _values: Records) -> None: ...

    def decode(self, _value: bytes | None) -> Candle:
        raise BadMessage("no candle")


def reader(backlog: Backlog, consumer: Consumer, decoder: Ticks | None = None) -> tuple[SinkReader, Retry]:
    retry = Retry(Random(1))
    judge: Callable[[Tick], Verdict] = lambda tick: Verdict.LATE if tick.price > 2 else Verdict.ACCEPTED  # noqa: E731
    made = SinkReader(
        Connection("nowhere:1"), "group", "candles", ["yfinance"], Candles(), decoder or Ticks(), judge, backlog,
        retry, lambda: 0.0,
    )  # fmt: skip
    made._consumer = consumer
    return made, retry


async def test_ticks_are_archived_with_their_place_and_verdict() -> None:
    backlog = Backlog(100, 10**9)
    made, _ = reader(backlog, Consumer(ticks(7) | ticks(7, 8, value=b"3")))
    await made._step()
    batch = backlog.take(0.0)
    assert [(r.item.offset, r.item.tick.price, r.item.verdict) for r in batch.ticks] == [
        (7, 3.0, Verdict.LATE),
        (8, 3.0, Verdict.LATE),
    ]
    assert batch.offsets == {("yfinance", 0): 9}


async def test_a_tick_that_is_none_is_counted_and_passed_over() -> None:
    backlog = Backlog(100, 10**9)
    made, _ = reader(backlog, Consumer(ticks(1, value=b"?"), ticks(2)))
    await made._step()
    await made._step()
    batch = backlog.take(0.0)
    assert (made.undecodable, len(batch.ticks), batch.poison) == (1, 1, [])
    assert batch.offsets == {("yfinance", 0): 3}


async def test_a_candle_that_is_none_goes_to_dead_letters() -> None:
    backlog = Backlog(100, 10**9)
    message = Message("candles", 0, 4, b"AAPL", b"\xff")
    made, _ = reader(backlog, Consumer({CANDLES: [message]}))
    await made._step()
    batch = backlog.take(0.0)
    record = SingleRecord("candles", 0, 4, b"AAPL", b"\xff")
    assert [(p.record, p.reason, p.error) for p in batch.poison] == [(record, "corrupt", "no candle")]
    assert (made.undecodable, batch.offsets) == (1, {("candles", 0): 5})


async def test_what_was_deleted_before_it_was_read_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(ticks(7), ticks(8), ticks(20))
    consumer.commits, consumer.begins = {TICKS: 4}, {TICKS: 6}
    made, _ = reader(Backlog(100, 10**9), consumer)
    await made._step()
    assert made.lost_before_read == 2  # what lies between 6 and 7 never was a record
    consumer.begins = {TICKS: 20}
    await made._step()
    assert made.lost_before_read == 2
    await made._step()
    assert made.lost_before_read == 2 + 11
    assert [record.getMessage() for record in caplog.records] == [
        "yfinance-0: offsets 4 to 5 were deleted before the sink read them",
        "yfinance-0: offsets 9 to 19 were deleted before the sink read them",
    ]


async def test_a_group_that_has_committed_nothing_has_lost_nothing() -> None:
    consumer = Consumer(ticks(7))
    consumer.begins = {TICKS: 7}
    made, _ = reader(Backlog(100, 10**9), consumer)
    await made._step()
    assert made.lost_before_read == 0


async def test_a_full_backlog_pauses_and_polls_on() -> None:
    backlog = Backlog(2, 10**9)
    consumer = Consumer(ticks(1, 2))
    made, _ = reader(backlog, consumer)
    for _ in range(4):
        await made._step()
    assert consumer.polls == [False, True, True, True]
    backlog.take(0.0)
    backlog.settle()
    consumer.fetches = [ticks(3)]
    await made._step()
    assert consumer.polls[-1] is False
    assert backlog.rows == 1


async def test_records_of_a_partition_assigned_while_paused_are_read_again() -> None:
    backlog = Backlog(1, 10**9)
    consumer = Consumer(ticks(1), ticks(2, 3))
    made, _ = reader(backlog, consumer)
    await made._step()
    await made._step()
    assert consumer.sought == [(TICKS, 2)]
    assert backlog.rows == 1


async def test_while_a_schema_is_waited_for_it_polls_without_reading() -> None:
    decoder = Ticks()
    decoder.ready.clear()
    backlog = Backlog(100, 10**9)
    consumer = Consumer(ticks(1))
    made, retry = reader(backlog, consumer, decoder)
    step = asyncio.ensure_future(made._step())
    await wait_until_async(lambda: len(consumer.polls) >= 4, 30, "polls")
    assert set(consumer.polls[1:]) == {True}
    assert retry.troubles == {"decoding": "waiting for a schema"}
    assert backlog.empty
    decoder.ready.set()
    await step
    assert (backlog.rows, retry.troubles) == (1, {})


async def test_a_registry_that_is_away_is_asked_again() -> None:
    decoder = Ticks()
    decoder.errors = [RegistryUnreachable("away"), RegistryUnreachable("still away")]
    backlog = Backlog(100, 10**9)
    made, retry = reader(backlog, Consumer(ticks(1)), decoder)
    await made._step()
    assert (backlog.rows, retry.failures, retry.troubles) == (1, 2, {})


async def test_records_whose_partitions_moved_while_a_schema_was_waited_for_are_left_out() -> None:
    decoder = Ticks()
    backlog = Backlog(100, 10**9)
    made, _ = reader(backlog, Consumer(ticks(1), ticks(2), ticks(1)), decoder)
    await made._step()
    decoder.ready.clear()
    decoder.asked.clear()
    step = asyncio.ensure_future(made._step())
    await decoder.asked.wait()
    await made.on_partitions_revoked([TICKS])
    decoder.ready.set()
    await step
    assert backlog.empty
    await made._step()
    assert backlog.take(0.0).offsets == {("yfinance", 0): 2}


async def test_an_error_of_ours_is_not_hidden() -> None:
    decoder = Ticks()
    decoder.errors = [ZeroDivisionError()]
    made, _ = reader(Backlog(100, 10**9), Consumer(ticks(1)), decoder)
    with pytest.raises(ZeroDivisionError):
        await made._step()


async def test_the_lag_ends_when_the_last_record_is_stored() -> None:
    decoder = Ticks()
    decoder.ready.clear()
    backlog = Backlog(100, 10**9)
    consumer = Consumer(ticks(0, 1), ticks(2))
    made, _ = reader(backlog, consumer, decoder)
    assert await made.lag() == 3
    step = asyncio.ensure_future(made._step())
    await decoder.asked.wait()
    assert await made.lag() == 3
    decoder.ready.set()
    await step
    assert await made.lag() == 3
    backlog.take(0.0)
    assert await made.lag() == 3
    await made._step()
    backlog.settle()
    assert await made.lag() == 1
    backlog.take(0.0)
    backlog.settle()
    assert await made.lag() == 0


async def test_the_lag_is_not_known_while_partitions_move() -> None:
    made, _ = reader(Backlog(100, 10**9), Consumer())
    await made.on_partitions_revoked([TICKS])
    assert await made.lag() is None
    await made.on_partitions_assigned([TICKS])
    assert await made.lag() == 3


async def test_records_fetched_while_the_lag_is_asked_for_count() -> None:
    decoder = Ticks()
    decoder.ready.clear()
    consumer = Consumer(ticks(0, 1, 2))
    made, _ = reader(Backlog(100, 10**9), consumer, decoder)
    steps = []

    async def fetch() -> None:
        steps.append(asyncio.ensure_future(made._step()))
        await decoder.asked.wait()

    consumer.while_asked = fetch  # type: ignore[method-assign]
    assert await made.lag() == 3
    decoder.ready.set()
    await asyncio.gather(*steps)


def with_columns(backlog: Backlog, consumer: Consumer) -> SinkReader:
    """A reader of Avro, as a worker has it."""
    candles = candle_decoder()
    ticks = WholeTickDecoder(OneSchema(TICK_SCHEMA_V2), Policy())
    made = SinkReader(
        Connection("nowhere:1"), "group", "candles", ["yfinance"], candles, ticks, Policy().judge, backlog,
        Retry(Random(1)), lambda: 0.0, candles, ticks,
    )  # fmt: skip
    made._consumer = consumer
    return made


def avro_ticks(offsets: range, *bad: int) -> dict[TopicPartition, list[Message]]:
    records = records_of([(offset, Tick("AAPL", 1_000, price=offset + 1.0)) for offset in offsets])
    values = [records.value(place) for place in range(len(records))]
    messages = [Message("yfinance", 0, offset, b"AAPL", value) for offset, value in zip(offsets, values, strict=True)]
    return {TICKS: [replace(m, value=b"{") if m.offset in bad else m for m in messages]}


async def test_a_fetch_is_taken_as_columns_and_what_is_none_by_itself() -> None:
    backlog = Backlog(10_000, 10**9)
    made = with_columns(backlog, Consumer(avro_ticks(range(5, 2_005), 5, 700)))
    await made._step()
    batch = backlog.take(0.0)
    assert batch.spans == {("yfinance", 0): (5, 2_005)}
    prices = [block.item(n).tick.price for block in batch.tick_blocks for n in range(len(block))]
    assert prices == [offset + 1.0 for offset in range(5, 2_005) if offset not in (5, 700)]
    assert (made.undecodable, batch.ticks, batch.poison) == (2, [], [])


async def test_of_a_fetch_as_much_is_taken_as_there_is_room_for() -> None:
    backlog = Backlog(900, 10**9)
    consumer = Consumer(avro_ticks(range(2_000)))
    made = with_columns(backlog, consumer)
    await made._step()
    assert (backlog.rows, backlog.full) == (900, True)
    await made._step()
    assert consumer.polls == [False, True]
    made._consumer.end_offsets = _ends(2_000)
    assert await made.lag() == 2_000
    taken = list(backlog.take(0.0).tick_blocks)
    backlog.settle()
    assert await made.lag() == 1_100
    for _ in range(2):
        await made._step()
        taken += backlog.take(0.0).tick_blocks
        backlog.settle()
    assert [block.columns.offset.tolist() for block in taken] == [
        list(range(500)), list(range(500, 900)), list(range(900, 1_800)), list(range(1_800, 2_000)),
    ]  # fmt: skip


async def test_what_is_left_of_a_fetch_is_forgotten_with_its_partition() -> None:
    backlog = Backlog(900, 10**9)
    made = with_columns(backlog, Consumer(avro_ticks(range(2_000)), {}))
    await made._step()
    await made.on_partitions_revoked([TICKS])
    assert (backlog.rows, backlog.empty) == (0, True)
    await made._step()
    assert backlog.empty


def _ends(end: int) -> Callable[[Sequence[TopicPartition]], Awaitable[dict[TopicPartition, int]]]:
    async def end_offsets(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0) | {TICKS: end}

    return end_offsets


async def test_it_says_when_nothing_more_is_to_be_read() -> None:
    made, _ = reader(Backlog(100, 10**9), Consumer(ticks(1), {}))
    await made._step()
    assert (made.has_more, made.added.is_set()) == (True, True)
    made.added.clear()
    await made._step()
    assert (made.has_more, made.added.is_set()) == (False, True)


class TestGivingWay:
    """The clock goes only where somebody works."""

    @pytest.fixture
    def at_work(self, monkeypatch: pytest.MonkeyPatch) -> tuple[SinkReader, list[float]]:
        """A reader that takes 1 ms for each of ten records, and its clock."""
        clock = [0.0]

        class Slow(Ticks):
            def decode(self, key: bytes | None, value: bytes | None) -> Tick:
                clock[0] += 0.001
                return super().decode(key, value)

        made, _ = reader(Backlog(100, 10**9), Consumer(ticks(*range(10))), Slow())
        made._clock = lambda: clock[0]
        return made, clock

    async def test_it_waits_while_others_work_and_not_for_ever(self, at_work: tuple[SinkReader, list[float]]) -> None:
        made, clock = at_work

        async def work() -> None:
            for turn in range(1000):
                clock[0] += 0.002 if turn % 3 else 0.0  # a step that is soon done is no pause
                await asyncio.sleep(0)

        working = asyncio.create_task(work())
        await made._step()
        assert not working.done()
        assert clock[0] - 0.01 >= 0.01 * sink_reader._OTHERS_SHARE
        working.cancel()

    async def test_it_goes_on_where_nobody_works(self, at_work: tuple[SinkReader, list[float]]) -> None:
        made, clock = at_work
        await asyncio.wait_for(made._step(), 5)
        assert clock == [pytest.approx(0.01)]
