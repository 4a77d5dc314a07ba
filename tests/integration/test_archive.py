"""The archive read back, on ClickHouse's real engine: behind HTTP, and embedded.

The engine embedded in this process could be opened on one path only, so it runs in a child: this file is a script too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from embedded import run_embedded

from stockstream.errors import SinkUnreachable
from stockstream.models import Tick, Verdict
from stockstream.sinks.archive import TickArchive
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick
from stockstream.testing.clickhouse import ClickHouseFacade

T0_MS = 1_700_000_000_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000

Making = Callable[[int], ClickHouseSink]


def tick(symbol: str, at_ms: int, received_ms: int, **other: Any) -> Tick:
    return Tick(symbol, T0_MS + at_ms, other.pop("price", 1.5), 2.0, producer_timestamp=T0_MS + received_ms, **other)


def row(
    archived: Tick, offset: int, partition: int = 0, topic: str = "live", verdict: str = "accepted"
) -> ArchivedTick:
    return ArchivedTick(archived, Verdict(verdict), topic, partition, offset)


@asynccontextmanager
async def stored(make: Making, *epochs: Sequence[ArchivedTick]) -> AsyncIterator[ClickHouseSink]:
    """A sink to read with; of each epoch its rows were written before."""
    for epoch, rows in enumerate(epochs):
        writer = make(epoch)
        await writer.start()
        await writer.insert_ticks(rows)
        await writer.close()
    yield make(0)


async def read(sink: ClickHouseSink, from_ms: int = 0, until_ms: int = HOUR_MS, **chosen: Any) -> list[Tick]:
    archive = TickArchive(sink, from_ms=T0_MS + from_ms, until_ms=T0_MS + until_ms, **{"topics": ["live"], **chosen})
    async with archive:
        ticks = [each async for each in archive]
    assert archive.rows == archive.rows_read == len(ticks)
    return ticks


async def ticks_come_as_they_were_received(make: Making) -> None:
    """Two partitions by their times of reception, whatever the ticks' own times and verdicts; what came twice once."""
    first = [tick("A", n * 10 - n % 7 * 500 + 5_000, 9_000 + n * 10, trade_id=n) for n in range(4_500)]
    second = [tick("B", n * 40 + 5_000, 9_005 + n * 40, trade_id=n) for n in range(900)]
    first[17].event_time = T0_MS + 5_000
    first[17].producer_timestamp = first[16].producer_timestamp
    first[40].price = -1.0
    first[41].kind, first[41].conditions = "quote", "odd, “lot”\n"
    verdicts = {17: "late", 40: "bad price"}
    rows = [row(each, n, verdict=verdicts.get(n, "accepted")) for n, each in enumerate(first)]
    rows += [row(each, n, partition=1) for n, each in enumerate(second)]
    async with stored(make, rows) as sink:
        await sink.start()
        await sink.insert_ticks(rows[1_000:3_000])
        sizes: list[int] = []
        select = sink.select

        async def watched(sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
            found = await select(sql, parameters)
            sizes.append(len(found))
            return found

        sink.select = watched  # type: ignore[method-assign]
        found = await read(sink, held_rows=4_000)
    assert found == sorted([*first, *second], key=lambda each: (each.producer_timestamp, each.symbol))
    assert len(sizes) > 3
    assert max(sizes) == 2_000  # of each of the two no more is ever held


async def a_range_has_the_holes_that_reach_into_it(make: Making) -> None:
    def hole(from_ms: int, until_ms: int, kind: str = "gap") -> Tick:
        return tick("A", from_ms, until_ms, price=0.0, kind=kind, until=T0_MS + until_ms, cause="closed 1001")

    before, into = hole(1_000, 9_999), hole(2_000, 10_001)
    within, out_of = hole(15_000, 16_000), hole(19_000, 60_000)
    rows = [
        row(each, n)
        for n, each in enumerate(
            [
                tick("A", 9_999, 9_999),
                before,
                tick("A", 10_000, 10_000),
                into,
                within,
                tick("A", 19_999, 70_000),
                out_of,
                tick("A", 20_000, 20_000),
                hole(1_000, 9_999, "repair"),
                hole(2_000, 10_001, "repair"),
            ]
        )
    ]
    async with stored(make, rows) as sink:
        found = await read(sink, 10_000, 20_000)
    assert found == [rows[n].tick for n in (2, 3, 4, 5, 6, 9)]


async def topics_symbols_and_sources_can_be_chosen(make: Making) -> None:
    rows = [
        row(tick("A", 1, 1), 0),
        row(tick("X:B", 2, 2, source="x"), 1),
        row(tick("X:C", 3, 3, source="x"), 2, partition=1),
        row(tick("A", 4, 4, source="replay"), 0, topic="replay-live"),
    ]
    a, b, c, replayed = (each.tick for each in rows)
    async with stored(make, rows) as sink:
        assert await read(sink) == [a, b, c]
        assert await read(make(0), symbols=["A", "X:C"]) == [a, c]
        assert await read(make(0), source="x") == [b, c]
        assert await read(make(0), topics=["replay-live"]) == [replayed]
        assert await read(make(0), topics=["nowhere"]) == []


async def epochs_follow_each_other(make: Making) -> None:
    old, new = [[tick("A", at + n, at + n, trade_id=at + n) for n in range(3)] for at in (0, 100)]
    async with stored(make, *([row(each, n) for n, each in enumerate(ticks)] for ticks in (old, new))) as sink:
        assert await read(sink) == [*old, *new]


async def what_was_known_before_is_told(make: Making) -> None:
    def control(symbol: str, kind: str, from_ms: int, until_ms: int | None = None) -> Tick:
        more = {} if until_ms is None else {"until": T0_MS + until_ms, "cause": "silent"}
        return tick(symbol, from_ms, from_ms if until_ms is None else until_ms, price=0.0, kind=kind, **more)

    older, start = control("A", "start", -40 * DAY_MS), control("A", "start", -30 * DAY_MS)
    forgotten, known = control("A", "gap", -20 * DAY_MS, -20 * DAY_MS + 5), control("A", "gap", -DAY_MS, -DAY_MS + 5)
    unknown, later = control("B", "gap", -DAY_MS, -DAY_MS + 5), control("A", "start", 50)
    mended = replace(known, kind="repair", producer_timestamp=known.producer_timestamp + 1)
    ticks = [older, start, forgotten, known, unknown, tick("A", 10, 10), later, mended]
    rows = [row(each, n) for n, each in enumerate(ticks)]
    async with (
        stored(make, rows) as sink,
        TickArchive(sink, from_ms=T0_MS, until_ms=T0_MS + 100, topics=["live"]) as archive,
    ):
        assert await archive.before() == [start, known, mended]
        assert [each async for each in archive] == [rows[5].tick, later]


async def reading_makes_nothing(make: Making) -> None:
    sink = make(0)
    with pytest.raises(SinkUnreachable, match=r"ClickHouse at .* is not usable: .*"):
        await read(sink)
    writer = make(0)
    await writer.start()
    await writer.close()
    assert await read(make(0)) == []


CHECKS: list[Callable[[Making], Awaitable[None]]] = [
    ticks_come_as_they_were_received,
    a_range_has_the_holes_that_reach_into_it,
    topics_symbols_and_sources_can_be_chosen,
    epochs_follow_each_other,
    what_was_known_before_is_told,
    reading_makes_nothing,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_on_a_server(check: Callable[[Making], Awaitable[None]], clickhouse: ClickHouseFacade) -> None:
    database = f"archive_{uuid4().hex}"
    await check(lambda epoch: ClickHouseSink(clickhouse.url, database=database, epoch=epoch))


def test_on_the_embedded_engine(tmp_path: Path) -> None:
    assert run_embedded(__file__, tmp_path / "engine") == [check.__name__ for check in CHECKS]


async def test_an_embedded_engine_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    sink = ClickHouseSink(f"chdb://{tmp_path}/nowhere")
    with pytest.raises(SinkUnreachable, match="nowhere is no folder: set CLICKHOUSE_URL"):
        await read(sink)
    assert not (tmp_path / "nowhere").exists()


async def _embedded(path: str) -> None:
    for number, check in enumerate(CHECKS):
        database = f"archive_{number}"
        await check(lambda epoch, database=database: ClickHouseSink(f"chdb://{path}", database=database, epoch=epoch))
        print(check.__name__, flush=True)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir()
    asyncio.run(_embedded(sys.argv[1]))
