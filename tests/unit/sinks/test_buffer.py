"""Rows that wait: which one stays, in which order, how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from stockstream.models import Candle, Tick, Verdict
from stockstream.sinks.buffer import CandleBuffer, Row, RowBuffer, TickBuffer
from stockstream.sinks.contract import ArchivedTick


@dataclass
class Message:
    topic: str = "t"
    partition: int = 0
    offset: int = 0
    key: bytes | None = b"AAPL"
    value: bytes | None = b"0123456789"


def candle(minute: int, version: int, symbol: str = "AAPL") -> Candle:
    start = minute * 60_000
    return Candle(
        symbol, "1m", "regular", start, start + 60_000, 1, 2, 0.5, 1.5, None, None, None, False, version, 0, 1
    )


def tick(offset: int, partition: int = 0) -> Row[ArchivedTick]:
    archived = ArchivedTick(Tick("AAPL", 1, price=offset), Verdict.ACCEPTED, "t", partition, offset)
    return Row(archived, Message(partition=partition, offset=offset))


def versions(buffer: RowBuffer[tuple[str, str, str, int], Candle]) -> list[tuple[int, int]]:
    return [(row.item.window_start // 60_000, row.item.version) for row in buffer.take()]


def test_the_greatest_version_stays_in_whatever_order_they_come() -> None:
    for order in permutations([1, 2, 3]):
        buffer = CandleBuffer()
        for version in order:
            buffer.add(Row(candle(0, version), Message()))
        assert versions(buffer) == [(0, 3)]


def test_candles_that_differ_in_any_part_of_the_key_are_others() -> None:
    buffer = CandleBuffer()
    first = candle(0, 1)
    for other in (first, candle(1, 1), candle(0, 1, "MSFT")):
        buffer.add(Row(other, Message()))
    five = candle(0, 1)
    five.interval = "5m"
    extended = candle(0, 1)
    extended.session = "extended"
    buffer.add(Row(five, Message()))
    buffer.add(Row(extended, Message()))
    assert len(buffer) == 5


def test_rows_come_out_in_the_order_in_which_they_came() -> None:
    buffer = CandleBuffer()
    for minute, version in ((2, 1), (1, 1), (3, 1), (2, 9)):
        buffer.add(Row(candle(minute, version), Message()))
    assert versions(buffer) == [(2, 9), (1, 1), (3, 1)]


def test_rows_put_back_go_ahead_and_lose_against_newer_versions() -> None:
    buffer = CandleBuffer()
    for minute, version in ((1, 5), (2, 5)):
        buffer.add(Row(candle(minute, version), Message()))
    taken = buffer.take()
    for minute, version in ((3, 5), (2, 6), (1, 4)):
        buffer.add(Row(candle(minute, version), Message()))
    buffer.restore(taken)
    assert versions(buffer) == [(1, 5), (2, 6), (3, 5)]


def test_a_tick_delivered_again_is_held_once() -> None:
    buffer = TickBuffer()
    for offset, partition in ((1, 0), (1, 1), (1, 0)):
        buffer.add(tick(offset, partition))
    assert len(buffer) == 2


def test_memory_is_that_of_the_rows_held() -> None:
    buffer = TickBuffer()
    one = tick(1).size_bytes
    for offset in (1, 2, 3, 3):
        buffer.add(tick(offset))
    assert buffer.size_bytes == 3 * one
    taken = buffer.take()
    assert buffer.size_bytes == 0
    buffer.restore(taken)
    buffer.forget({("t", 0)})
    assert (len(buffer), buffer.size_bytes) == (0, 0)


def test_a_partition_is_forgotten_and_the_others_stay_in_order() -> None:
    buffer = TickBuffer()
    for offset, partition in ((1, 0), (1, 1), (2, 0), (2, 1)):
        buffer.add(tick(offset, partition))
    buffer.forget({("t", 0), ("elsewhere", 1)})
    assert [(row.item.partition, row.item.offset) for row in buffer.take()] == [(1, 1), (1, 2)]
