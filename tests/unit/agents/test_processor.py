from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from faust.types import TP

from stockstream.agents import processor as module
from stockstream.agents.processor import REFETCH_TIMEOUT_S, CandleProcessor
from stockstream.broker.stores import PartitionStore
from stockstream.broker.taken import Fetch
from stockstream.errors import PartitionMoved, TopicMismatch
from stockstream.models import Candle, Verdict
from stockstream.models.records import Records
from stockstream.tables import Tables

SOURCE = TP("ticks", 0)
CHANGES = "unit-candles_1m-changelog"

MakeRecord = Callable[..., Any]
Closes = Callable[[str], list[float]]
Told = list[tuple[int, int, list[Candle]]]


def fetch(*records: Any, begin: int | None = None, end: int | None = None) -> Fetch:
    """As taken; ``begin`` and ``end`` where the log has no records before or behind them."""
    begin, end = records[0].offset if begin is None else begin, records[-1].offset + 1 if end is None else end
    return Fetch(Records.of(records), begin, end)


@pytest.fixture
def steady_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The steady clock, to be set."""
    clock = [1000.0]
    monkeypatch.setattr(module, "_steady_s", lambda: clock[0])
    return clock


class TestOneFetch:
    async def test_is_published_and_when_it_is_saved_stored_and_logged(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, closes: Closes
    ) -> None:
        assert await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        assert closes("1m") == [100.0, 101.0]
        assert closes("1d") == [101.0]
        assert not app.producer.sent[CHANGES]
        await processor.save()
        assert len(app.producer.sent[CHANGES]) == 2
        await processor.save()
        assert len(app.producer.sent[CHANGES]) == 2
        assert app.producer.sent["latest"] == [(b"A", b"A 101.0")]
        assert processor.verdicts == {Verdict.ACCEPTED: 2}

    async def test_sends_what_no_candle_takes_to_the_dead_letters(
        self, processor: CandleProcessor, make_record: MakeRecord, letters: Any
    ) -> None:
        records = [make_record(0), make_record(1, price=-1.0), make_record(2, key=None), make_record(3, key=b"B")]
        assert await processor.process(SOURCE, fetch(*records), 1)
        assert sorted(letters.sent) == [(1, "bad price"), (2, "no key"), (3, "key mismatch")]

    async def test_tells_the_ledger_of_gaps_what_its_control_records_say(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        """And again when they are read again; `start` records and those that are refused are not in it."""
        hole = {"event_time": 1_700_000_000_000, "until": 1_700_000_009_000, "cause": "silent", "source": "x"}
        records = [
            make_record(0, kind="start", price=0.0),
            make_record(1, kind="gap", price=0.0, **hole),
            make_record(2, kind="gap", price=0.0, **hole | {"until": 5}),
            make_record(3, kind="repair", price=0.0, **hole),
        ]
        assert await processor.process(SOURCE, fetch(*records), 1)
        sent = [(key, json.loads(value)) for key, value in app.producer.sent["gaps"]]
        assert [(key, told["kind"], told["place"]) for key, told in sent] == [(b"A", "gap", 1), (b"A", "repair", 3)]
        assert (sent[0][1]["from_ms"], sent[0][1]["until_ms"]) == (hole["event_time"], hole["until"])
        assert await processor.process(SOURCE, fetch(*records), 1)
        assert [json.loads(value) for _, value in app.producer.sent["gaps"]][2:] == [told for _, told in sent]

    async def test_moves_the_stores_offset_over_what_was_logged(
        self, processor: CandleProcessor, make_record: MakeRecord, tables: Tables
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        await processor.save()
        await asyncio.sleep(0)
        assert tables.candles["1m"].table.data.persisted_offset(TP(CHANGES, 0)) == 1
        assert processor.foreign_writes == 0

    async def test_an_offset_that_the_disk_does_not_take_ends_the_worker(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        full, crashed = RuntimeError("IO error: No space left on device"), asyncio.Event()
        reasons: list[BaseException] = []

        def advance(*_: object) -> bool:
            raise full

        async def crash(reason: BaseException) -> None:
            reasons.append(reason)
            crashed.set()

        monkeypatch.setattr(PartitionStore, "advance", advance)
        app.crash = crash
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        await processor.save()
        await asyncio.wait_for(crashed.wait(), 5)
        assert set(reasons) == {full}

    async def test_counts_what_somebody_else_wrote_into_the_changelog(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, tables: Tables
    ) -> None:
        app.producer.skipped[CHANGES] = 7
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        await processor.save()
        await asyncio.sleep(0)
        assert tables.candles["1m"].table.data.persisted_offset(TP(CHANGES, 0)) is None
        assert processor.foreign_writes == 1

    async def test_is_saved_at_once_where_it_has_changed_much(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_UNSAVED", 9)
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not app.producer.sent[CHANGES]
        await processor.process(SOURCE, fetch(make_record(1)), 1)
        assert len(app.producer.sent[CHANGES]) == 2

    async def test_is_saved_before_the_partitions_go(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        await processor.settle()
        assert len(app.producer.sent[CHANGES]) == 1
        assert app.producer.flushed == 1

    async def test_is_not_saved_over_what_somebody_else_has_written(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        async with processor._locks[0]:
            saving = asyncio.ensure_future(processor.save())
            await asyncio.sleep(0)
            processor.forget(SOURCE)
        await saving
        assert not app.producer.sent[CHANGES]


class TestTelling:
    """Of candles, with their places in Kafka, once they are there."""

    async def test_goes_batch_by_batch(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, told: Told
    ) -> None:
        app.producer.room, app.producer.skipped["candles"] = 3, 100
        await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        await asyncio.sleep(0)
        assert [(partition, offset, len(candles)) for partition, offset, candles in told] == [(0, 100, 3), (0, 103, 1)]
        sent = [(candle.interval, candle.window_start) for _, _, candles in told for candle in candles]
        assert sent == [tuple(json.loads(value)[:2]) for _, value in app.producer.sent["candles"]]

    async def test_is_of_prices_too(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, told_prices: list[tuple[int, int, Any]]
    ) -> None:
        app.producer.skipped["latest"] = 100
        await processor.process(SOURCE, fetch(make_record(0), make_record(1), make_record(2, symbol="B", key=b"B")), 1)
        await asyncio.sleep(0)
        [(partition, offset, prices)] = told_prices
        assert (partition, offset) == (0, 100)
        assert [(price.symbol.encode(), f"{price.symbol} {price.price}".encode()) for price in prices] == (
            app.producer.sent["latest"]
        )

    async def test_is_not_of_prices_that_would_have_to_be_decoded(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, told_prices: list[tuple[int, int, Any]]
    ) -> None:
        """An earlier tick has the newest price sent once more, which is then read in Kafka, as others' are."""
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        await processor.process(SOURCE, fetch(make_record(1, event_time=20_000 * 86_400_000 - 60_000)), 1)
        await asyncio.sleep(0)
        assert len(app.producer.sent["latest"]) == 2
        assert [offset for _, offset, _ in told_prices] == [0]

    async def test_ends_with_a_batch_that_did_not_arrive(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, told: Told
    ) -> None:
        app.producer.room, whole = 3, app.producer.send_batch
        app.crash = lambda error: asyncio.sleep(0)

        async def fail_once(batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
            sent: asyncio.Future[Any] = await whole(batch, topic, partition=partition)
            if topic != "candles" or len(app.producer.sent[topic]) > 3:
                return sent
            failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            failed.set_exception(OSError("the broker has gone"))
            return failed

        app.producer.send_batch = fail_once
        await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        await asyncio.sleep(0)
        assert app.consumer.poisoned
        assert told == []


class TestHoles:
    async def test_the_log_is_read_again_from_where_it_should_go_on(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, closes: Closes
    ) -> None:
        assert await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        assert not await processor.process(SOURCE, fetch(make_record(4)), 1)
        assert app.consumer.read_again == [(SOURCE, 2)]
        assert closes("1m") == [100.0, 101.0]

    async def test_what_was_fetched_meanwhile_comes_out_of_turn(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, closes: Closes
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not await processor.process(SOURCE, fetch(make_record(4)), 1)
        assert not await processor.process(SOURCE, fetch(make_record(5)), 1)
        assert await processor.process(SOURCE, fetch(make_record(1), make_record(2), make_record(3)), 1)
        assert await processor.process(SOURCE, fetch(make_record(4), make_record(5)), 1)
        assert app.consumer.read_again == [(SOURCE, 1)]
        assert closes("1m") == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
        assert processor.lost_before_read == 0

    async def test_a_hole_that_is_in_the_log_is_passed_and_what_was_deleted_counted(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, closes: Closes
    ) -> None:
        app.consumer.begins[SOURCE] = 3
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not await processor.process(SOURCE, fetch(make_record(4)), 1)
        assert await processor.process(SOURCE, fetch(make_record(4)), 1)
        assert await processor.process(SOURCE, fetch(make_record(5)), 1)
        assert app.consumer.read_again == [(SOURCE, 1)]
        assert closes("1m") == [100.0, 104.0, 105.0]
        assert processor.lost_before_read == 2

    async def test_offsets_that_no_record_ever_had_are_no_hole(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, closes: Closes
    ) -> None:
        assert await processor.process(SOURCE, fetch(make_record(0), end=3), 1)
        assert await processor.process(SOURCE, fetch(make_record(3), make_record(4)), 1)
        assert await processor.process(SOURCE, fetch(make_record(7), begin=5), 1)
        assert not await processor.process(SOURCE, fetch(make_record(20), begin=10), 1)
        assert app.consumer.read_again == [(SOURCE, 8)]
        assert closes("1m") == [100.0, 103.0, 104.0, 107.0]
        assert processor.lost_before_read == 0

    async def test_is_asked_for_once_more_if_nothing_came_of_it(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, steady_s: list[float]
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not await processor.process(SOURCE, fetch(make_record(4)), 1)
        steady_s[0] += REFETCH_TIMEOUT_S
        assert not await processor.process(SOURCE, fetch(make_record(9)), 1)
        assert app.consumer.read_again == [(SOURCE, 1), (SOURCE, 1)]

    async def test_a_new_generation_asks_for_itself(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        """A rebalance may lose the same fetch again: that the hole is the same says nothing of the log."""
        app.consumer.sought = {SOURCE: 1}
        assert not await processor.process(SOURCE, fetch(make_record(4)), 1)
        app.consumer_generation_id = 2
        assert not await processor.process(SOURCE, fetch(make_record(4)), 2)
        assert app.consumer.read_again == [(SOURCE, 1), (SOURCE, 1)]
        assert processor.lost_before_read == 0

    async def test_the_first_fetch_begins_where_reading_was_positioned(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        app.consumer.sought = {SOURCE: 7}
        assert not await processor.process(SOURCE, fetch(make_record(8)), 1)
        assert await processor.process(SOURCE, fetch(make_record(6), make_record(7)), 1)

    async def test_the_first_fetch_ever_begins_where_the_log_does(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        app.consumer.sought = {SOURCE: None}
        app.consumer.begins[SOURCE] = 5
        assert not await processor.process(SOURCE, fetch(make_record(6)), 1)
        assert app.consumer.read_again == [(SOURCE, 5)]
        assert await processor.process(SOURCE, fetch(make_record(5)), 1)

    async def test_what_was_read_already_changes_nothing(
        self, processor: CandleProcessor, make_record: MakeRecord, app: Any
    ) -> None:
        """It is sent once more all the same: a crash may have come between the store and the broker."""
        records = [make_record(at, event_time=20_000 * 86_400_000 + at) for at in range(4)]
        await processor.process(SOURCE, fetch(*records), 1)
        await processor.save()
        assert await processor.process(SOURCE, fetch(*records[1:]), 1)
        await processor.save()
        for topic in (CHANGES, "candles", "latest"):
            sent = app.producer.sent[topic]
            assert sent[len(sent) // 2 :] == sent[: len(sent) // 2] != []


class TestMoving:
    async def test_another_generations_fetch_is_not_applied(
        self, processor: CandleProcessor, make_record: MakeRecord, app: Any
    ) -> None:
        assert not await processor.process(SOURCE, fetch(make_record(0)), 0)
        assert not app.producer.sent

    async def test_a_partition_that_went_while_the_registry_was_asked_is_not_written(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def prepare(values: Any) -> None:
            app.consumer_generation_id = 2

        monkeypatch.setattr(processor._decoder, "prepare", prepare)
        assert not await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not app.producer.sent

    async def test_stores_opened_for_a_generation_that_has_ended_are_not_kept(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        def rebalance() -> None:
            app.consumer_generation_id = 2
            app.consumer.assigned.clear()

        app.consumer.before_highwaters = rebalance
        assert not await processor.process(SOURCE, fetch(make_record(0)), 1)
        assert not app.producer.sent
        assert not processor._partitions

    async def test_rows_are_read_again_after_somebody_else_wrote_them(
        self, processor: CandleProcessor, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        known = processor._partitions[0]
        processor.forget(TP(CHANGES, 0))
        await processor.process(SOURCE, fetch(make_record(1)), 1)
        assert processor._partitions[0] is not known

    async def test_lets_go_of_partitions_that_others_have(
        self, processor: CandleProcessor, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        processor.keep_only({SOURCE, TP("other", 3)})
        assert list(processor._partitions) == [0]
        processor.keep_only({TP(CHANGES, 0)})  # as a standby
        assert not processor._partitions

    async def test_partitions_go_only_after_what_is_being_written(self, processor: CandleProcessor, app: Any) -> None:
        async with processor._locks[0]:
            settling = asyncio.ensure_future(processor.settle())
            await asyncio.sleep(0)
            assert app.producer.flushed == 0
        await settling
        assert app.producer.flushed == 1

    async def test_a_topic_that_was_created_anew_is_refused(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        await processor.save()
        processor.forget(SOURCE)
        app.consumer.ends[SOURCE] = 1
        with pytest.raises(TopicMismatch, match="set STOCKSTREAM_EPOCH to 1"):
            await processor.process(SOURCE, fetch(make_record(2)), 1)
        app.consumer.ends[SOURCE] = 2
        assert await processor.process(SOURCE, fetch(make_record(2)), 1)


class TestQuietSymbols:
    @pytest.fixture
    async def read(self, processor: CandleProcessor, app: Any, make_record: MakeRecord, steady_s: list[float]) -> None:
        """One tick was read; by its own clock nothing has ended."""
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        app.producer.sent.clear()
        app.consumer.ends[SOURCE] = 1

    @pytest.mark.usefixtures("read")
    async def test_windows_close_by_wall_time_when_nothing_is_left_to_read(
        self, processor: CandleProcessor, app: Any, closes: Closes, steady_s: list[float]
    ) -> None:
        steady_s[0] += 59
        await processor.close_due()
        assert closes("1m") == []
        steady_s[0] += 2
        await processor.close_due()
        assert (closes("1m"), closes("5m")) == ([100.0], [])
        assert app.producer.sent["candles"][0][1].endswith(b'"closed"]')

    @pytest.mark.usefixtures("read")
    async def test_windows_stay_open_while_there_is_something_to_read(
        self, processor: CandleProcessor, app: Any, steady_s: list[float]
    ) -> None:
        app.consumer.ends[SOURCE] = 2
        steady_s[0] += 86_400
        await processor.close_due()
        assert not app.producer.sent

    @pytest.mark.usefixtures("read")
    async def test_nothing_closes_while_partitions_move(
        self, processor: CandleProcessor, app: Any, steady_s: list[float]
    ) -> None:
        steady_s[0] += 86_400
        app.rebalancing = True
        await processor.close_due()
        assert not app.producer.sent

    @pytest.mark.usefixtures("read")
    async def test_nothing_closes_in_stores_of_a_generation_that_ended_meanwhile(
        self, processor: CandleProcessor, app: Any, steady_s: list[float]
    ) -> None:
        def rebalance() -> None:
            app.consumer_generation_id = app.consumer.open_generation = 2

        processor.forget(SOURCE)
        app.consumer.before_highwaters = rebalance
        steady_s[0] += 86_400
        await processor.close_due()
        assert not app.producer.sent


class TestTableViews:
    async def test_the_owner_answers(self, processor: CandleProcessor, make_record: MakeRecord) -> None:
        await processor.process(SOURCE, fetch(make_record(0), make_record(1)), 1)
        assert [candle.close for candle in processor.candles("1m", "A", 10)] == [100.0, 101.0]
        assert [candle.close for candle in processor.candles("1m", "A", 1)] == [101.0]
        assert processor.latest("A") == b"A 101.0"
        assert processor.latest("B") is None

    async def test_others_say_that_it_is_elsewhere(
        self, processor: CandleProcessor, app: Any, make_record: MakeRecord
    ) -> None:
        await processor.process(SOURCE, fetch(make_record(0)), 1)
        app.consumer.assigned.clear()
        with pytest.raises(PartitionMoved):
            processor.latest("A")
        with pytest.raises(PartitionMoved):
            processor.candles("1m", "A", 10)
