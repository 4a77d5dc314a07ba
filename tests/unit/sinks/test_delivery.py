"""A batch arrives whole, but for the rows that the sink refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from whole import tick_block

from stockstream.errors import BrokerUnreachable, SinkRefused, SinkUnreachable
from stockstream.models import Candle, Tick, Verdict
from stockstream.sinks.backlog import Backlog, Batch, Poison
from stockstream.sinks.contract import ArchivedTick
from stockstream.sinks.delivery import REFUSED, Delivery
from stockstream.sinks.memory import MemorySink


@dataclass(frozen=True)
class Message:
    topic: str
    partition: int
    offset: int
    key: bytes | None = b"AAPL"
    value: bytes | None = b"bytes"


class PickySink(MemorySink):
    """Refuses negative prices, is away for the calls in ``away``."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.away: set[int] = set()

    async def insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        self.calls.append(len(ticks))
        if len(self.calls) in self.away:
            raise SinkUnreachable("away")
        if any(tick.tick.price < 0 for tick in ticks):
            raise SinkRefused("a negative price")
        await super().insert_ticks(ticks)


class DeadLetters:
    def __init__(self) -> None:
        self.sent: list[tuple[str, int, int, bytes | None, str, str]] = []
        self.away = False

    async def __call__(
        self, key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> None:
        if self.away:
            raise BrokerUnreachable("away")
        self.sent.append((topic, partition, offset, value, reason, error))


def batch(prices: Sequence[float]) -> Batch:
    held = Backlog(1_000, 10**9)
    for offset, price in enumerate(prices):
        archived = ArchivedTick(Tick("AAPL", 1, price=price), Verdict.ACCEPTED, "t", 0, offset)
        held.add_tick(archived, Message("t", 0, offset), 0.0)
    return held.take(0.0)


async def test_rows_go_in_chunks() -> None:
    sink, letters = PickySink(), DeadLetters()
    delivery = Delivery(sink, letters, chunk_rows=4)
    await delivery.deliver(batch([1.0] * 10))
    assert sink.calls == [4, 4, 2]
    assert delivery.inserted == len(sink.stored_ticks) == 10


@pytest.mark.parametrize("bad", [{0}, {9}, {3, 4}, set(range(10))])
async def test_each_row_is_stored_or_dead_lettered(bad: set[int]) -> None:
    sink, letters = PickySink(), DeadLetters()
    delivery = Delivery(sink, letters, chunk_rows=8)
    await delivery.deliver(batch([-1.0 if offset in bad else 1.0 for offset in range(10)]))
    assert {offset for _, _, offset in sink.stored_ticks} == set(range(10)) - bad
    assert letters.sent == [("t", 0, offset, b"bytes", REFUSED, "a negative price") for offset in sorted(bad)]
    assert (delivery.inserted, delivery.dead_lettered) == (10 - len(bad), len(bad))


@pytest.mark.parametrize("bad", [set(), {0}, {100, 101, 199}])
async def test_each_row_of_blocks_is_stored_or_dead_lettered(bad: set[int]) -> None:
    ticks = [(n, Tick("AAPL", 1, price=-1.0 if n in bad else 1.0)) for n in range(300)]
    held = Backlog(1_000, 10**9)
    for at in (0, 100, 200):
        held.add_ticks(tick_block("t", 0, ticks[at : at + 100]), 0.0)
    sink, letters = PickySink(), DeadLetters()
    delivery, rows = Delivery(sink, letters, chunk_rows=250), held.take(0.0)
    await delivery.deliver(rows)
    assert {offset for _, _, offset in sink.stored_ticks} == set(range(300)) - bad
    assert [offset for _, _, offset, *_ in letters.sent] == sorted(bad)
    assert all(value and value.startswith(b"\0\0\0\0\1") for _, _, _, value, *_ in letters.sent)
    assert (delivery.inserted, delivery.dead_lettered, rows.tick_blocks) == (300 - len(bad), len(bad), [])


async def test_an_outage_leaves_the_rest_of_the_blocks_in_the_batch() -> None:
    held = Backlog(1_000, 10**9)
    for at in (0, 100, 200):
        held.add_ticks(tick_block("t", 0, [(at + n, Tick("AAPL", 1, price=1.0)) for n in range(100)]), 0.0)
    sink = PickySink()
    delivery, rows = Delivery(sink, DeadLetters(), chunk_rows=100), held.take(0.0)
    sink.away = {2}
    with pytest.raises(SinkUnreachable):
        await delivery.deliver(rows)
    assert [block.records.offset(0) for block in rows.tick_blocks] == [100, 200]
    await delivery.deliver(rows)
    assert len(sink.stored_ticks) == delivery.inserted == 300


async def test_a_single_bad_row_among_many_costs_few_inserts() -> None:
    sink = PickySink()
    await Delivery(sink, DeadLetters(), chunk_rows=1_024).deliver(batch([1.0] * 700 + [-1.0] + [1.0] * 323))
    assert len(sink.calls) == 1 + 2 * 10


async def test_an_outage_leaves_the_rest_in_the_batch() -> None:
    sink, letters = PickySink(), DeadLetters()
    delivery = Delivery(sink, letters, chunk_rows=4)
    sink.away = {2}
    rows = batch([1.0] * 10)
    with pytest.raises(SinkUnreachable):
        await delivery.deliver(rows)
    assert [row.item.offset for row in rows.ticks] == [4, 5, 6, 7, 8, 9]
    await delivery.deliver(rows)
    assert list(sink.stored_ticks) == [("t", 0, offset) for offset in range(10)]
    assert rows.ticks == []


async def test_a_row_that_cannot_be_dead_lettered_stays() -> None:
    sink, letters = PickySink(), DeadLetters()
    delivery = Delivery(sink, letters, chunk_rows=4)
    letters.away = True
    rows = batch([-1.0])
    with pytest.raises(BrokerUnreachable):
        await delivery.deliver(rows)
    assert len(rows.ticks) == 1
    assert delivery.dead_lettered == 0


async def test_what_could_not_be_decoded_is_dead_lettered_first() -> None:
    sink, letters = PickySink(), DeadLetters()
    rows = batch([1.0])
    rows.poison.append(Poison(Message("candles", 2, 7, value=b"\xff"), "corrupt", "no Avro"))
    await Delivery(sink, letters, chunk_rows=4).deliver(rows)
    assert letters.sent == [("candles", 2, 7, b"\xff", "corrupt", "no Avro")]
    assert rows.poison == []
    assert len(sink.stored_ticks) == 1


async def test_candles_go_with_their_greatest_version() -> None:
    held = Backlog(10, 10**9)
    for offset, version in enumerate((2, 3, 1)):
        candle = Candle("A", "1m", "regular", 0, 60_000, 1, 1, 1, 1, None, None, None, False, version, 0, 1)
        held.add_candle(candle, Message("candles", 0, offset), 0.0)
    sink = PickySink()
    await Delivery(sink, DeadLetters(), chunk_rows=4).deliver(held.take(0.0))
    assert [candle.version for candle in sink.stored_candles.values()] == [3]
