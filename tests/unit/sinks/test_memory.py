"""The sink of tests keeps to the contract."""

from __future__ import annotations

from itertools import permutations

from stockstream.models import Candle
from stockstream.sinks.contract import Sink
from stockstream.sinks.memory import MemorySink


def candle(minute: int, version: int = 1, session: str = "regular") -> Candle:
    start = minute * 60_000
    return Candle("A", "1m", session, start, start + 60_000, 1, 1, 1, 1, None, None, None, False, version, 0, 1)


async def test_the_greatest_version_counts_in_any_order() -> None:
    for order in permutations([1, 2, 3]):
        sink: Sink = MemorySink()
        await sink.insert_candles([candle(0, version) for version in order])
        assert [found.version for found in await sink.candles("A", "1m", None, None, 10)] == [3]


async def test_the_last_candles_of_the_range_come_ascending() -> None:
    sink = MemorySink()
    await sink.insert_candles([candle(minute) for minute in (3, 1, 4, 0, 2)] + [candle(2, session="extended")])
    assert [c.window_start // 60_000 for c in await sink.candles("A", "1m", 60_000, 240_000, 2)] == [2, 3]
    assert len(await sink.candles("A", "1m", None, None, 9, "extended")) == 1
    assert await sink.candles("A", "1m", None, None, 0) == []
    assert await sink.candles("B", "1m", None, None, 9) == []
