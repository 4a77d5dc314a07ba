from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from stockstream.agents.partition import Outcome, Partition, topic_id
from stockstream.codecs.avro import TickDecoder
from stockstream.core.interval import Address
from stockstream.models import Candle, Latest, Verdict
from stockstream.models.records import Records
from stockstream.tables import Tables
from stockstream.tables.rows import decode_key

TOPIC = "ticks"
DAY = 86_400_000
START = 20_000 * DAY
PLACES = [0, 1, 2, 9, 3, 30, 4, 31, 1500, 1501, 32, 3000, 3001, 2]
"""Minutes of ticks: windows open and close, ticks come late, days pass."""

MakeRecord = Callable[..., Any]
Open = Callable[..., Partition]
Apply = Callable[..., tuple[Outcome, Counter[Verdict]]]


@pytest.fixture
def opened(tables: Tables, rules: Callable[..., Any], encode_latest: Callable[[Latest], bytes]) -> Open:
    """Open partition 0 over what its stores hold, as a start does."""

    def build(committed: int = 0, **other: Any) -> Partition:
        return Partition(0, tables, rules(**other), encode_latest, {TOPIC: committed}, 0)

    return build


@pytest.fixture
def apply(decoder: TickDecoder) -> Apply:
    def to(partition: Partition, *records: Any, topic: str = TOPIC, committed: int = 0, save: bool = True) -> Any:
        made = partition.apply(topic, Records.of(records), decoder, committed, 0)
        if save:
            partition.save()
        return made

    return to


def rows(partition: Partition) -> dict[Address, bytes]:
    """All that the candle stores hold."""
    return {
        (interval, *decode_key(key)): value
        for interval, store in partition.stores.items()
        for key, value in store.items()
    }


def empty(partition: Partition) -> None:
    for store in (*partition.stores.values(), partition.latest_store):
        store.write([(key, None) for key, _ in list(store.items())])


def last_of(told: list[tuple[Outcome, Counter[Verdict]]]) -> dict[Any, Candle]:
    """The candles as they were published last."""
    return {candle.key: candle for outcome, _ in told for candle in outcome.candles}


def published(candles: list[Candle], interval: str) -> list[tuple[float, float | None, str]]:
    return [(candle.close, candle.volume, candle.state) for candle in candles if candle.interval == interval]


class TestSaving:
    async def test_what_batches_have_changed_is_stored_once(
        self, opened: Open, apply: Apply, make_record: MakeRecord
    ) -> None:
        partition = opened()
        apply(partition, make_record(0), save=False)
        outcome, verdicts = apply(partition, make_record(1, event_time=START + 5), save=False)
        assert verdicts == {Verdict.ACCEPTED: 1}
        assert published(outcome.candles, "1m") == [(101.0, 2.0, "forming")]
        assert not rows(partition)
        assert partition.unsaved == 8
        saved = partition.save()
        assert partition.unsaved == 0
        for interval, pairs in saved.candles.items():
            assert len(pairs) == 1
            assert pairs == list(partition.stores[interval].items())
        assert saved.latest == list(partition.latest_store.items())
        assert {interval for interval, _, _ in rows(partition)} == {"1m", "5m", "1d"}

    async def test_makes_no_difference(self, opened: Open, apply: Apply, make_record: MakeRecord) -> None:
        """Windows open and end, late ticks come, and old rows are evicted in between."""
        records = [make_record(at, event_time=START + place * 60_000) for at, place in enumerate(PLACES)]
        found: list[Any] = []
        for each_time in (True, False):
            partition = opened(retention_ms=DAY)
            told = [apply(partition, record, save=each_time, committed=record.offset) for record in records]
            partition.save()
            found.append((told, rows(partition), list(partition.latest_store.items())))
            empty(partition)
        assert found[0] == found[1]

    @pytest.mark.parametrize("committed", range(1, len(PLACES)))
    async def test_what_a_crash_came_before_is_made_again(
        self, opened: Open, apply: Apply, make_record: MakeRecord, committed: int
    ) -> None:
        records = [make_record(at, event_time=START + place * 60_000) for at, place in enumerate(PLACES)]
        whole = opened()
        told = [apply(whole, record) for record in records]
        expected = rows(whole), list(whole.latest_store.items())
        empty(whole)
        first = opened()
        for record in records[:committed]:
            apply(first, record, save=False)
        first.save()
        for record in records[committed:]:
            apply(first, record, save=False, committed=committed)
        second = opened(committed=committed)
        again = [apply(second, record, save=False, committed=committed) for record in records[committed:]]
        second.save()
        assert (rows(second), list(second.latest_store.items())) == expected
        assert last_of(again).items() <= last_of(told).items()

    async def test_what_is_not_stored_yet_is_answered_with(
        self, opened: Open, apply: Apply, make_record: MakeRecord
    ) -> None:
        partition = opened()
        apply(partition, make_record(0), make_record(1))
        apply(partition, make_record(2, event_time=START), make_record(3, event_time=START + 60_000), save=False)
        assert published(partition.candles("1m", "A", 9), "1m") == [(102.0, 2.0, "amended"), (103.0, 2.0, "forming")]
        assert [stored.close for stored in partition.candles("1m", "A", 1)] == [103.0]
        assert len(partition.save().candles["1m"]) == 2


async def test_the_same_batch_again_changes_nothing_and_is_told_again(
    opened: Open, apply: Apply, make_record: MakeRecord
) -> None:
    partition = opened()
    first, _ = apply(partition, make_record(0), make_record(1, event_time=START + 5))
    before = rows(partition)
    again, verdicts = apply(partition, make_record(0), make_record(1, event_time=START + 5))
    assert again == first
    assert rows(partition) == before
    assert verdicts == {Verdict.ACCEPTED: 2}


async def test_goes_on_after_a_restart_as_if_there_had_been_none(
    opened: Open, apply: Apply, make_record: MakeRecord
) -> None:
    ticks = [make_record(at, event_time=START + at * 20_000) for at in range(8)]
    whole = opened()
    expected: dict[Any, Candle] = {}
    for tick in ticks:
        expected.update((candle.key, candle) for candle in apply(whole, tick)[0].candles)
    for interval, store in whole.stores.items():
        store.write([(key, None) for key, _ in list(store.items())])
        assert list(store.items()) == [], interval
    found: dict[Any, Candle] = {}
    for tick in ticks:
        found.update((candle.key, candle) for candle in apply(opened(), tick)[0].candles)
    assert found == expected


async def test_windows_close_by_the_ticks_of_their_own_clock(
    opened: Open, apply: Apply, make_record: MakeRecord
) -> None:
    partition = opened()
    apply(partition, make_record(0))
    other, _ = apply(partition, make_record(9, symbol="B", key=b"B", exchange="ELSEWHERE"))
    assert published(other.candles, "1m") == [(109.0, 1.0, "forming")]
    later, _ = apply(partition, make_record(10))
    assert (100.0, 1.0, "closed") in published(later.candles, "1m")


async def test_nothing_is_told_when_no_window_has_ended(opened: Open, apply: Apply, make_record: MakeRecord) -> None:
    partition = opened()
    apply(partition, make_record(0))
    assert partition.close(59_000, idle=True) is None
    outcome = partition.close(61_000, idle=True)
    assert outcome is not None
    assert published(outcome.candles, "1m") == [(100.0, 1.0, "closed")]
    assert partition.close(61_000, idle=True) is None


async def test_refused_records_are_letters_with_their_reason(
    opened: Open, apply: Apply, make_record: MakeRecord
) -> None:
    late = make_record(2, producer_timestamp=START + 10 * DAY)
    outcome, verdicts = apply(opened(), make_record(0), make_record(1, key=b"B"), late, make_record(3, price=0.0))
    assert [(letter.offset, letter.reason) for letter in outcome.letters] == [
        (1, Verdict.KEY_MISMATCH),
        (2, Verdict.LATE),
        (3, Verdict.BAD_PRICE),
    ]
    assert verdicts == {Verdict.ACCEPTED: 1, Verdict.LATE: 1, Verdict.BAD_PRICE: 1}
    assert all(letter.error for letter in outcome.letters)


async def test_a_duplicate_is_no_letter(opened: Open, apply: Apply, make_record: MakeRecord) -> None:
    outcome, verdicts = apply(opened(), make_record(0), make_record(1, trade_id=0, event_time=START))
    assert verdicts == {Verdict.ACCEPTED: 1, Verdict.DUPLICATE: 1}
    assert outcome.letters == []
    assert published(outcome.candles, "1m") == [(100.0, 1.0, "forming")]


async def test_another_topics_ticks_of_a_symbol_are_refused(
    opened: Open, apply: Apply, make_record: MakeRecord
) -> None:
    partition = opened()
    apply(partition, make_record(0))
    before = rows(partition)
    outcome, verdicts = apply(partition, make_record(1), topic="other")
    assert verdicts == {Verdict.FOREIGN_TOPIC: 1}
    assert [letter.reason for letter in outcome.letters] == [Verdict.FOREIGN_TOPIC]
    assert rows(partition) == before


class TestLatest:
    async def test_is_the_greatest_by_event_time(self, opened: Open, apply: Apply, make_record: MakeRecord) -> None:
        partition = opened()
        outcome, _ = apply(partition, make_record(5), make_record(3))
        assert outcome.latest == list(partition.latest_store.items())
        assert partition.latest("A") == b"A 105.0"

    async def test_never_goes_back_and_is_told_again(self, opened: Open, apply: Apply, make_record: MakeRecord) -> None:
        first, _ = apply(opened(), make_record(5))
        again, _ = apply(opened(), make_record(3))
        assert again.latest == first.latest

    async def test_is_not_moved_by_what_was_refused(self, opened: Open, apply: Apply, make_record: MakeRecord) -> None:
        outcome, _ = apply(opened(), make_record(5, price=-1.0))
        assert outcome.latest == []

    async def test_is_moved_by_quotes(self, opened: Open, apply: Apply, make_record: MakeRecord) -> None:
        outcome, _ = apply(opened(), make_record(5, kind="quote", trade_id=-1))
        assert [symbol for symbol, _ in outcome.latest] == [b"A"]
        assert outcome.candles == []


class TestPlaces:
    async def test_newest_offset_of_a_topic_survives_a_restart(
        self, opened: Open, apply: Apply, make_record: MakeRecord
    ) -> None:
        assert opened().newest_offset(TOPIC) == -1
        apply(opened(), make_record(40), make_record(41))
        assert opened().newest_offset(TOPIC) == 41
        assert opened().newest_offset("other") == -1

    async def test_offsets_of_an_epoch_that_has_ended_say_nothing(
        self, opened: Open, apply: Apply, make_record: MakeRecord
    ) -> None:
        apply(opened(), make_record(40))
        assert opened(epoch=1).newest_offset(TOPIC) == -1
        apply(opened(epoch=1), make_record(2))
        assert opened(epoch=1).newest_offset(TOPIC) == 2

    def test_topics_have_numbers_that_never_change(self) -> None:
        assert topic_id("yfinance") == 0x8579604C


class TestKeeping:
    @pytest.fixture
    def starts(self, opened: Open, apply: Apply, make_record: MakeRecord) -> Callable[[bool], set[int]]:
        """Starts of the 1m rows that are left, in days, of one tick a day for a week with a retention of one day."""

        def of(is_committed: bool) -> set[int]:
            partition = opened(retention_ms=DAY)
            for day in range(7):
                record = make_record(day, event_time=START + day * DAY)
                apply(partition, record, committed=day if is_committed else 0)
            return {(at[2] - START) // DAY for at in rows(partition) if at[0] == "1m"}

        return of

    async def test_old_rows_go_and_the_newest_stays(self, starts: Callable[[bool], set[int]]) -> None:
        left = starts(True)
        assert 6 in left
        assert not left & {0, 1, 2}

    async def test_rows_stay_while_their_ticks_may_be_read_again(self, starts: Callable[[bool], set[int]]) -> None:
        assert starts(False) == set(range(7))
