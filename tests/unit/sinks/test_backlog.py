"""Offsets are committed after what they stand for is stored, whatever fails and moves in between."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from whole import candle_block, candle_decoder, tick_block

from stockstream.models import Candle, Tick, Verdict
from stockstream.sinks.backlog import Backlog, Batch, Poison
from stockstream.sinks.blocks import record_of
from stockstream.sinks.contract import ArchivedTick

DECODER = candle_decoder()


@dataclass(frozen=True)
class Message:
    topic: str
    partition: int
    offset: int
    key: bytes | None = b"AAPL"
    value: bytes | None = b"0123456789"


def candle(minute: int, version: int) -> Candle:
    start = minute * 60_000
    return Candle(
        "AAPL", "1m", "regular", start, start + 60_000, 1, 2, 0.5, 1.5, None, None, None, False, version, 0, 1
    )


def backlog(max_rows: int = 100, max_bytes: int = 10**9) -> Backlog:
    return Backlog(max_rows, max_bytes)


def add_ticks(held: Backlog, *offsets: int, partition: int = 0, now_s: float = 0.0) -> None:
    for offset in offsets:
        archived = ArchivedTick(Tick("AAPL", 1), Verdict.ACCEPTED, "t", partition, offset)
        held.add_tick(archived, Message("t", partition, offset), now_s)


def test_a_batch_carries_the_offset_after_the_last_record_of_each_partition() -> None:
    held = backlog()
    add_ticks(held, 7, 8)
    held.add_candle(candle(0, 5), Message("candles", 3, 40), 0.0)
    held.add_candle(candle(0, 4), Message("candles", 3, 41), 0.0)
    held.skip(Message("t", 1, 99), 0.0)
    batch = held.take(0.0)
    assert batch.offsets == {("t", 0): 9, ("candles", 3): 42, ("t", 1): 100}
    assert (len(batch.candles), len(batch.ticks)) == (1, 2)


def test_it_is_full_by_rows_on_their_way_too() -> None:
    held = backlog(max_rows=3)
    add_ticks(held, 1, 2)
    held.take(0.0)
    assert not held.full
    add_ticks(held, 3)
    assert held.full
    held.settle()
    assert not held.full


def test_it_is_full_by_memory() -> None:
    held = backlog(max_bytes=3_000)
    add_ticks(held, 1, 2)
    assert not held.full
    held.take(0.0)
    add_ticks(held, 3)
    assert held.full
    held.restore()
    assert held.full


def test_records_without_rows_are_committed_too() -> None:
    held = backlog()
    held.skip(Message("t", 0, 4), 1.0)
    assert not held.empty
    assert held.take(2.0).offsets == {("t", 0): 5}
    held.settle()
    assert held.empty


def test_the_age_is_that_of_the_oldest_record_not_committed() -> None:
    held = backlog()
    assert held.since_s is None
    add_ticks(held, 1, now_s=10.0)
    held.take(11.0)
    add_ticks(held, 2, now_s=12.0)
    assert held.since_s == 10.0
    held.restore()
    assert held.since_s == 10.0
    held.take(13.0)
    held.settle()
    assert held.since_s is None


def test_what_is_left_of_a_batch_comes_back_with_all_its_offsets() -> None:
    held = backlog()
    add_ticks(held, 1, 2, 3)
    batch = held.take(0.0)
    del batch.ticks[:2]
    add_ticks(held, 4)
    held.restore()
    again = held.take(0.0)
    assert [row.item.offset for row in again.ticks] == [3, 4]
    assert again.spans == {("t", 0): (1, 5)}


def test_a_revoked_partition_leaves_neither_rows_nor_offsets() -> None:
    held = backlog()
    add_ticks(held, 1, 2)
    add_ticks(held, 1, partition=1)
    held.add_candle(candle(0, 5), Message("t", 0, 2), 0.0)
    batch = held.take(0.0)
    add_ticks(held, 3)
    held.add_candle(candle(1, 5), Message("t", 0, 3), 0.0)
    held.add_poison(Poison(Message("t", 0, 4), "corrupt", ""), 0.0)
    held.forget({("t", 0)})
    assert batch.offsets == {("t", 1): 2}
    assert held.first_uncommitted(("t", 0)) is None
    held.restore()
    again = held.take(0.0)
    assert [(row.item.partition, row.item.offset) for row in again.ticks] == [(1, 1)]
    assert (again.candles, again.offsets, again.poison) == ([], {("t", 1): 2}, [])


def test_the_first_uncommitted_offset_is_known_while_a_batch_is_on_its_way() -> None:
    held = backlog()
    add_ticks(held, 5, 6)
    held.take(0.0)
    add_ticks(held, 7)
    assert held.first_uncommitted(("t", 0)) == 5
    held.settle()
    assert held.first_uncommitted(("t", 0)) == 7


def test_candles_as_columns_are_held_once_and_ticks_all() -> None:
    held = backlog()
    held.add_candles(candle_block(DECODER, 0, [(4, candle(0, 1)), (5, candle(1, 1)), (6, candle(0, 2))]), 0.0)
    held.add_candles(candle_block(DECODER, 0, [(7, candle(1, 3))]), 0.0)
    held.add_ticks(tick_block("t", 1, [(offset, Tick("AAPL", 1_000)) for offset in range(10, 90)]), 0.0)
    assert held.rows == 4 + 80
    batch = held.take(0.0)
    assert [(b.item(n).version, b.columns.offset[n]) for b in batch.candle_blocks for n in range(len(b))] == [
        (2, 6), (3, 7),
    ]  # fmt: skip
    assert batch.spans == {("candles", 0): (4, 8), ("t", 1): (10, 90)}
    assert len(batch) == 2 + 80
    held.forget({("t", 1)})
    held.restore()
    assert held.rows == 2
    assert held.take(0.0).spans == {("candles", 0): (4, 8)}


def test_an_outage_costs_as_many_columns_as_candles_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stockstream.sinks.blocks._FEW_ROWS", 50)
    held = backlog(max_rows=1_000)
    for version in range(1, 101):
        items = [(10 * version + minute, candle(minute, version)) for minute in range(10)]
        held.add_candles(candle_block(DECODER, version % 2, items), 0.0)
        assert not held.full
    assert held.rows < 120
    size_bytes = held._bytes
    batch = held.take(0.0)
    found = [(block.item(n), record_of(block, n)) for block in batch.candle_blocks for n in range(len(block))]
    assert sorted((c.window_start // 60_000, c.version) for c, _ in found) == [(minute, 100) for minute in range(10)]
    assert [DECODER.decode(record.value) for _, record in found] == [c for c, _ in found]
    assert {record.offset for _, record in found} == set(range(1_000, 1_010))
    assert size_bytes < 200_000


class AnyHistory(RuleBasedStateMachine):
    """Reads, inserts, failures and rebalances in any order, against the log that they read from."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Backlog(50, 10**9)
        self.log: dict[int, list[tuple[int, int]]] = {0: [], 1: []}  # partition → (minute, version) by offset
        self.read = {0: 0, 1: 0}
        self.committed = {0: 0, 1: 0}
        self.stored: dict[int, int] = {}
        self.batch: Batch | None = None
        self.version = 0

    @rule(partition=st.sampled_from([0, 1]), minute=st.integers(0, 3))
    def publish(self, partition: int, minute: int) -> None:
        self.version += 1
        self.log[partition].append((minute * 2 + partition, self.version))

    @rule(partition=st.sampled_from([0, 1]))
    def read_one(self, partition: int) -> None:
        offset = self.read[partition]
        if offset < len(self.log[partition]):
            minute, version = self.log[partition][offset]
            self.held.add_candle(candle(minute, version), Message("candles", partition, offset), 0.0)
            self.read[partition] += 1

    @rule(partition=st.sampled_from([0, 1]), most=st.integers(1, 5))
    def read_a_block(self, partition: int, most: int) -> None:
        begin = self.read[partition]
        part = list(enumerate(self.log[partition]))[begin : begin + most]
        if part:
            items = [(offset, candle(*item)) for offset, item in part]
            self.held.add_candles(candle_block(DECODER, partition, items), 0.0)
            self.read[partition] += len(part)

    @precondition(lambda self: self.batch is None)
    @rule()
    def take(self) -> None:
        self.batch = self.held.take(0.0)

    @precondition(lambda self: self.batch is not None)
    @rule(rows=st.integers(0, 3))
    def insert_some(self, rows: int) -> None:
        assert self.batch is not None
        for row in self.batch.candles[:rows]:
            minute = row.item.window_start // 60_000
            self.stored[minute] = max(self.stored.get(minute, 0), row.item.version)
        del self.batch.candles[:rows]
        for block in self.batch.candle_blocks[:rows]:
            for index in range(len(block)):
                minute = block.item(index).window_start // 60_000
                self.stored[minute] = max(self.stored.get(minute, 0), block.item(index).version)
        del self.batch.candle_blocks[:rows]

    @precondition(lambda self: self.batch is not None)
    @rule()
    def fail(self) -> None:
        self.held.restore()
        self.batch = None

    @precondition(lambda self: self.batch is not None)
    @rule()
    def succeed(self) -> None:
        assert self.batch is not None
        self.insert_some(len(self.batch))
        for (_, partition), end in self.batch.offsets.items():
            self.committed[partition] = end
        self.held.settle()
        self.batch = None

    @rule(partitions=st.sets(st.sampled_from([0, 1])))
    def rebalance(self, partitions: set[int]) -> None:
        self.held.forget({("candles", partition) for partition in partitions})
        for partition in partitions:
            self.read[partition] = self.committed[partition]

    @invariant()
    def nothing_is_committed_that_is_not_stored(self) -> None:
        for partition, end in self.committed.items():
            for minute, version in self.log[partition][:end]:
                assert self.stored.get(minute, 0) >= version

    def teardown(self) -> None:
        if self.batch is not None:
            self.fail()
        for partition in self.log:
            while self.read[partition] < len(self.log[partition]):
                self.read_one(partition)
        self.take()
        self.succeed()
        assert self.committed == {partition: len(records) for partition, records in self.log.items()}
        self.nothing_is_committed_that_is_not_stored()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
