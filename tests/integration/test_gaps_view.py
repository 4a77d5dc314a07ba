"""The view of holes, on ClickHouse's real engine: behind HTTP, and embedded.

The engine embedded in this process could be opened on one path only, so it runs in a child: this file is a script too.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from embedded import run_embedded
from stored import archived

from stockstream.core.holes import pairs
from stockstream.core.row import stamp
from stockstream.models import Tick, Verdict
from stockstream.models.tick import Kind
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick
from stockstream.tables.gaps import GapLedger, encode_control
from stockstream.testing.clickhouse import ClickHouseFacade

T0_MS = 1_700_000_000_000
COLUMNS = ("symbol", "source", "from", "until", "cause", "state", "open_ms", "told", "repaired", "reason")

Hole = tuple[Any, ...]
"""What the view and the ledger both say of a hole: `COLUMNS`, times in epoch ms."""


def span(
    kind: Kind, offset: int, from_s: int, until_s: int, *, topic: str = "live", partition: int = 0, **other: Any
) -> ArchivedTick:
    verdict = Verdict(other.pop("verdict", "accepted"))
    whole = Tick(
        "BINANCE:BTCUSDT", T0_MS + 1000 * from_s, kind=kind, until=T0_MS + 1000 * until_s, cause=f"{kind} {offset}",
        producer_timestamp=T0_MS + 60_000 + offset, source="binance",
    )  # fmt: skip
    return ArchivedTick(replace(whole, **other), verdict, topic, partition, offset)


def holes(client: Client, database: str, topic: str = "live") -> list[Hole]:
    times = {
        name: f"toUnixTimestamp64Milli(g.{name})" for name in ("from_time", "until_time", "told_at", "repaired_at")
    }
    rows = client.query(
        "SELECT g.symbol, g.source, {from_time}, {until_time}, g.cause, g.state, g.open_ms, {told_at}, {repaired_at},"
        " g.reason FROM {database}.gaps AS g WHERE g.topic = '{topic}' ORDER BY ALL".format(
            **times, database=database, topic=topic
        )
    ).result_rows
    return [tuple(row) for row in rows]


def told(client: Client, database: str, topic: str = "live") -> list[tuple[int, int, str, int]]:
    """From and until in seconds, the state, and how many seconds are missing."""
    return [
        ((hole[2] - T0_MS) // 1000, (hole[3] - T0_MS) // 1000, hole[5], hole[6] // 1000)
        for hole in holes(client, database, topic)
    ]


class Ledger(GapLedger):
    """The ledger of gaps, told by hand."""

    def __init__(self) -> None:
        super().__init__({}, "gaps", send=self._keep, hopeless=lambda gap: None, now_ms=lambda: T0_MS)

    async def _keep(self, key: bytes, value: bytes | None) -> None:
        raise AssertionError("nothing is repaired here")

    def hear(self, epoch: int, record: ArchivedTick) -> None:
        key, value = encode_control(stamp(epoch, record.offset), record.tick)
        self._take(SimpleNamespace(key=key, value=value))  # type: ignore[arg-type]

    def holes(self) -> list[Hole]:
        return sorted(
            (
                gap.symbol, gap.source, gap.from_ms, gap.until_ms, gap.cause, gap.state,
                sum(high - low for low, high in pairs(held.left)), gap.told_ms, gap.repaired_ms, gap.reason,
            )
            for known in self._symbols.values() for held in known.holes.values() for gap in [self._state(held)]
        )  # fmt: skip


# What holds for a server and for the embedded engine: each gets a sink, a client to look with, and the database.


async def a_hole_is_a_row_and_is_seen_repaired(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    await sink.insert_ticks([archived(0), span("repair", 1, 0, 99), span("gap", 2, 10, 20), span("repair", 3, 15, 30)])
    hole = ("BINANCE:BTCUSDT", "binance", T0_MS + 10_000, T0_MS + 20_000, "gap 2")
    assert holes(client, database) == [(*hole, "open", 5_000, T0_MS + 60_002, None, None)]
    await sink.insert_ticks([span("repair", 4, 12, 16), span("repair", 7, 0, 12), span("repair", 9, 0, 99)])
    assert holes(client, database) == [(*hole, "repaired", 0, T0_MS + 60_002, T0_MS + 60_007, "repair 7")]
    kinds = {row[0]: row[1] for row in client.query(f"DESCRIBE TABLE {database}.gaps").result_rows}
    assert kinds["from_time"] == kinds["until_time"] == kinds["told_at"] == "DateTime64(3, 'UTC')"
    assert kinds["repaired_at"] == "Nullable(DateTime64(3, 'UTC'))"
    assert kinds["open_ms"] == "Int64"


async def what_is_stored_twice_shows_once(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    client.command(f"SYSTEM STOP MERGES {database}.ticks")
    for _ in range(3):
        await sink.insert_ticks([span("gap", 1, 10, 20), span("gap", 2, 30, 40), span("repair", 3, 10, 15)])
    assert client.query(f"SELECT count() FROM {database}.ticks").result_rows == [(9,)]
    assert told(client, database) == [(10, 20, "open", 5), (30, 40, "open", 10)]


async def a_hole_that_is_told_again_is_one_hole(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    again = [span("gap", 1, 10, 20), span("repair", 2, 12, 14), span("gap", 3, 9, 21), span("repair", 4, 20, 21)]
    await sink.insert_ticks(again)
    assert told(client, database) == [(9, 21, "open", 11)]
    await sink.insert_ticks([span("repair", 5, 0, 30), span("gap", 6, 9, 30), span("gap", 7, 9, 30)])
    assert told(client, database) == [(9, 21, "repaired", 0), (9, 30, "open", 21)]


async def only_what_is_accepted_tells_of_holes(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    refused = span("gap", 1, 10, 20, verdict="future"), span("repair", 3, 30, 40, verdict="bad time")
    await sink.insert_ticks([*refused, span("gap", 2, 30, 40), span("start", 4, 30, 40), archived(5)])
    assert told(client, database) == [(30, 40, "open", 10)]


async def logs_are_told_apart_and_ordered_by_epoch(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    await sink.insert_ticks([span("gap", 7, 10, 20), span("repair", 9, 50, 60)])
    elsewhere: list[dict[str, Any]] = [{"topic": "other"}, {"partition": 1}, {"symbol": "AAPL"}]
    for where in elsewhere:
        await sink.insert_ticks([span("repair", 8, 10, 20, **where)])
    sink._epoch = 1
    await sink.insert_ticks([span("gap", 2, 50, 60)])
    assert told(client, database) == [(10, 20, "open", 10), (50, 60, "open", 10)]
    await sink.insert_ticks([span("repair", 1, 10, 20)])
    assert told(client, database) == [(10, 20, "repaired", 0), (50, 60, "open", 10)]
    assert told(client, database, "other") == []


async def a_hole_without_a_length_is_open_until_repaired(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    around = [span("repair", 3, 5, 9), span("repair", 4, 11, 12), span("repair", 5, 20, 25)]
    await sink.insert_ticks([span("gap", 1, 10, 10), span("gap", 2, 20, 20), *around])
    assert told(client, database) == [(10, 10, "open", 0), (20, 20, "repaired", 0)]


async def times_without_a_date_break_nothing(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    times = (-(2**63), -1, 0, T0_MS, 10_413_791_999_999, 253_402_300_799_999, 2**63 - 1)
    spans = list(pairwise(times))
    await sink.insert_ticks([
        span(kind, 2 * n + at, 0, 0, event_time=low, until=high, producer_timestamp=low, symbol=f"S{n}")
        for n, (low, high) in enumerate(spans) for at, kind in enumerate(("gap", "repair"))
    ])  # fmt: skip
    found = client.query(f"SELECT symbol, from_time, told_at FROM {database}.gaps ORDER BY ALL").result_rows
    assert len(found) == len(spans)
    last = datetime(2299, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert {row[1].replace(tzinfo=UTC) for row in found if row[0] in ("S4", "S5")} == {last}


def random_log(rng: random.Random, number: int) -> list[tuple[int, ArchivedTick]]:
    """Holes and repairs of one symbol, with their epochs, in the order of their log; many touch, or come again."""
    log: list[tuple[int, ArchivedTick]] = []
    reach_s = rng.choice([4, 12, 40])
    for at in range(rng.randrange(1, 16)):
        from_s, until_s = sorted(rng.randrange(reach_s) for _ in range(2))
        kind: Kind = rng.choice(["gap", "repair", "repair"])
        spans = [(t.tick.event_time, t.tick.until) for _, t in log]
        more: dict[str, Any] = {"source": rng.choice(["binance", "finnhub"])}
        if spans and rng.random() < 0.4:
            more["event_time"], more["until"] = rng.choice(spans)
        if rng.random() < 0.1:
            more["cause"] = rng.choice([None, ""])
        if rng.random() < 0.1:
            more["producer_timestamp"] = 0
        epoch = at // 8
        offset = 1000 * number + at - 20 * epoch + 20
        log.append((epoch, span(kind, offset, from_s, until_s, symbol=f"S{number}", **more)))
    return log


async def it_says_what_the_ledger_says(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    rng = random.Random(14)
    logs = [random_log(rng, n) for n in range(500)]
    for epoch in (0, 1):
        sink._epoch = epoch
        await sink.insert_ticks([record for log in logs for at, record in log if at == epoch])
    ledger = Ledger()
    for log in logs:
        crashed = rng.randrange(len(log) + 1)
        for epoch, record in read_twice(log, rng.randrange(crashed + 1), crashed):
            ledger.hear(epoch, record)
    found, expected = holes(client, database), ledger.holes()
    assert {hole[5] for hole in expected} == {"open", "repaired"}
    for log in logs:
        symbol = log[0][1].tick.symbol
        assert [hole for hole in found if hole[0] == symbol] == sorted(
            (hole for hole in expected if hole[0] == symbol), key=lambda hole: (*hole[1:5], hole[5])
        ), log
    assert len(found) == len(expected) > 500


def read_twice(
    log: Sequence[tuple[int, ArchivedTick]], committed: int, crashed: int
) -> Iterable[tuple[int, ArchivedTick]]:
    """A log as a worker reads it that crashes, and goes on at its last commit."""
    return [*log[:crashed], *log[committed:]]


Check = Callable[[ClickHouseSink, Client, str], Awaitable[None]]
CHECKS: list[Check] = [
    a_hole_is_a_row_and_is_seen_repaired,
    what_is_stored_twice_shows_once,
    a_hole_that_is_told_again_is_one_hole,
    only_what_is_accepted_tells_of_holes,
    logs_are_told_apart_and_ordered_by_epoch,
    a_hole_without_a_length_is_open_until_repaired,
    times_without_a_date_break_nothing,
    it_says_what_the_ledger_says,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_on_a_server(check: Check, clickhouse: ClickHouseFacade) -> None:
    client = clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port)
    await checked(check, clickhouse.url, client, f"gaps_{uuid4().hex}")
    client.close()


def test_on_the_embedded_engine(tmp_path: Path) -> None:
    assert run_embedded(__file__, tmp_path / "engine") == [check.__name__ for check in CHECKS]


async def checked(check: Check, url: str, client: Client, database: str) -> None:
    sink = ClickHouseSink(url, database=database)
    await check(sink, client, database)
    await sink.close()


async def _embedded(path: str) -> None:
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    for number, check in enumerate(CHECKS):
        await checked(check, f"chdb://{path}", client, f"gaps_{number}")
        print(check.__name__, flush=True)
    client.close()


if __name__ == "__main__":
    asyncio.run(_embedded(sys.argv[1]))
