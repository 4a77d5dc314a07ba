"""ClickHouse as a sink, on its real engine: behind HTTP, with faults, and embedded.

The engine embedded in this process could be opened on one path only, so it runs in a child: this file is a script too.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from embedded import run_embedded
from stored import MINUTE_MS, T0_MS, all_candles, archived, blocks_are_stored_as_their_rows_are, candle
from whole import tick_block

from stockstream.errors import SinkRefused, SinkUnreachable
from stockstream.models import Tick, Verdict
from stockstream.sinks.archive import TickArchive
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick
from stockstream.sinks.migrations import migrate, migrations
from stockstream.testing.clickhouse import ClickHouseFacade, FaultMode

TICK_FIELDS = [f.name for f in fields(Tick)]


# What holds for a server and for the embedded engine: each gets a sink, a client to look with, and the database.


async def schema_is_made_once(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    await sink.insert_candles([candle()])
    await sink.start()
    assert await all_candles(sink) == [candle()]
    rows = client.query(f"SELECT version FROM {database}.schema_migrations ORDER BY version").result_rows
    assert [row[0] for row in rows] == [step.version for step in migrations()]


async def an_older_schema_is_upgraded(sink: ClickHouseSink, client: Client, database: str) -> None:
    assert migrate(client, database, migrations()[:1]) == [1]
    assert client.query(f"EXISTS {database}.ticks").result_rows == [(0,)]
    await sink.start()
    await sink.insert_ticks([archived(1)])
    assert migrate(client, database, migrations()) == []


async def a_newer_schema_is_left_alone(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    client.insert(f"{database}.schema_migrations", [[999, "from the future"]], column_names=["version", "name"])
    await sink.start()
    await sink.insert_candles([candle()])
    assert await all_candles(sink) == [candle()]


async def every_field_comes_back(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    full = candle(1, 2**63 + 5, is_closed=True, partial=True, gap=True, corrected=True, state="amended")
    bare = candle(2, 0, volume=None, vwap=None, trades=None)
    await sink.insert_candles([full, bare])
    assert await all_candles(sink) == [full, bare]

    plain = Tick("AAPL", T0_MS)
    rich = Tick(
        "X", T0_MS + 1, 0.1 + 0.2, 1e-8, 2**62, 2**61, "gap", T0_MS + 2, "1700", "NMS", 8, -1, -0.5, 1e300, "4",
        "finnhub", 17, "USD", "odd, “lot”\n\t\\'", 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10, -11.5, T0_MS + 3,
        "reconnected",
    )  # fmt: skip
    assert all(getattr(rich, name) is not None for name in TICK_FIELDS)
    odd = Tick("", -(2**63), math.inf, -0.0, currency="", conditions="", kind="quote")
    ticks = [
        ArchivedTick(plain, Verdict.ACCEPTED, "yfinance", 0, 0),
        ArchivedTick(rich, Verdict.LATE, "yfinance", 0, 2**40),
        ArchivedTick(odd, Verdict.BAD_TIME, "yfinance", 11, 1),
    ]
    await sink.insert_ticks(ticks[:1])  # alone, so that no tick of the insert has the fields that may be null
    await sink.insert_ticks(ticks[1:])
    names = ", ".join([*TICK_FIELDS, "verdict", "topic", "`partition`", "`offset`"])
    rows = client.query(f"SELECT {names} FROM {database}.ticks FINAL ORDER BY `partition`, `offset`").result_rows
    width = len(TICK_FIELDS)
    assert [ArchivedTick(Tick(*row[:width]), Verdict(row[width]), *row[width + 1 :]) for row in rows] == ticks


async def the_view_shows_the_promised_columns(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    named = client.query(f"DESCRIBE TABLE {database}.candles").result_rows
    kinds = {row[0]: row[1] for row in named}
    promised = (
        "symbol interval session window_start window_end open high low close volume vwap trades is_closed version"
        " session_open session_close partial gap corrected"
    )
    assert set(promised.split()) <= set(kinds)
    assert kinds["window_start"] == kinds["session_close"] == "DateTime64(3, 'UTC')"
    assert kinds["partial"] == kinds["is_closed"] == "Bool"
    assert kinds["version"] == "UInt64"


async def the_greatest_version_wins(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    for minute, order in enumerate(permutations([1, 2, 2**63])):
        for version in order:
            await sink.insert_candles([candle(minute, version, close=float(version))])
    found = await all_candles(sink)
    assert [c.window_start for c in found] == [candle(minute).window_start for minute in range(6)]
    assert {(c.version, c.close) for c in found} == {(2**63, float(2**63))}


async def ticks_are_stored_once(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    for _ in range(3):
        await sink.insert_ticks([archived(1), archived(2)])
    assert client.query(f"SELECT count() FROM {database}.ticks FINAL").result_rows == [(2,)]


async def a_tick_of_another_epoch_is_another_tick(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    await sink.insert_ticks([archived(1)])
    sink._epoch = 1
    await sink.insert_ticks([archived(1), archived(1)])
    client.command(f"OPTIMIZE TABLE {database}.ticks FINAL")
    assert client.query(f"SELECT epoch FROM {database}.ticks ORDER BY epoch").result_rows == [(0,), (1,)]


async def ticks_archived_before_there_were_epochs_stay(sink: ClickHouseSink, client: Client, database: str) -> None:
    before, step = migrations()[:2], migrations()[2]
    assert step.name == "tick_epoch"
    migrate(client, database, before)
    client.insert(
        f"{database}.ticks", [["AAPL", T0_MS, 1.5, "yfinance", 0, 7, "accepted"]],
        column_names=["symbol", "event_time", "price", "topic", "partition", "offset", "verdict"],
    )  # fmt: skip
    await sink.start()
    for statement in step.statements:  # as by two workers at once
        client.command(statement.replace("{database}", database))
    await sink.insert_ticks([archived(1)])
    rows = client.query(f"SELECT symbol, epoch FROM {database}.ticks ORDER BY symbol").result_rows
    assert rows == [("AAPL", 0), ("BINANCE:BTCUSDT", 0)]


async def reads_are_bounded(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    others = [candle(symbol="AAPL"), candle(interval="5m"), candle(session="extended")]
    await sink.insert_candles([*(candle(minute) for minute in range(10)), *others])

    async def minutes(start: int | None, end: int | None, limit: int) -> list[int]:
        bounds = (None if m is None else candle(m).window_start for m in (start, end))
        found = await sink.candles("BINANCE:BTCUSDT", "1m", *bounds, limit)
        return [(c.window_start - T0_MS) // MINUTE_MS for c in found]

    assert await minutes(None, None, 100) == list(range(10))
    assert await minutes(3, 7, 100) == [3, 4, 5, 6]
    assert await minutes(3, 7, 2) == [5, 6]
    assert await minutes(None, 2, 100) == [0, 1]
    assert await minutes(8, None, 1) == [9]
    assert await minutes(None, None, 0) == []
    assert await sink.candles("BINANCE:BTCUSDT", "1m", None, None, 5, "extended") == [others[2]]
    assert await sink.candles("x' OR '1'='1", "1m", None, None, 5) == []


async def hostile_values_are_only_values(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    texts = [
        f"'; DROP TABLE {database}.ticks; --", "x' OR '1'='1", "x\\' OR 1=1 --", "` OR 1=1 --", "{symbol:String}",
        "%(symbol)s", "a\tb\nc\\", "”‘\u2028",
    ]  # fmt: skip
    await sink.insert_candles([candle(n, symbol=text) for n, text in enumerate(texts)])
    await sink.insert_ticks([archived(n, symbol=text, source=text, cause=text) for n, text in enumerate(texts)])
    for number, text in enumerate(texts):
        assert await all_candles(sink, text) == [candle(number, symbol=text)]
        assert await sink.candles("BINANCE:BTCUSDT", text, None, None, 5, session=text) == []
        archive = TickArchive(
            sink, from_ms=T0_MS, until_ms=T0_MS + MINUTE_MS, topics=["crypto-prices"], symbols=[text], source=text
        )
        await archive._open()  # as its `async with` does, which would close the sink too
        assert [(tick.symbol, tick.cause) async for tick in archive] == [(text, text)]
        archive._given["topics"] = [text]
        await archive._open()
        assert (archive.rows, await archive.before()) == (0, [])
    assert client.query(f"SELECT count() FROM {database}.ticks").result_rows == [(len(texts),)]


async def many_months_fit_one_insert(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    step = 31 * 24 * 60
    await sink.insert_candles([candle(-month * step) for month in range(150)])
    await sink.insert_ticks([archived(n, event_time=T0_MS - n * step * MINUTE_MS) for n in range(150)])
    months = [Tick("AAPL", T0_MS - n * step * MINUTE_MS) for n in range(150)]
    await sink.insert_tick_blocks([tick_block("columns", 0, list(enumerate(months)))])
    assert len(await all_candles(sink)) == 150
    assert client.query(f"SELECT count() FROM {database}.ticks").result_rows == [(300,)]


async def retention_follows_the_setting(sink: ClickHouseSink, client: Client, database: str) -> None:
    def ttl() -> bool:
        sql = "SELECT engine_full LIKE '%TTL event_date + toIntervalDay(30)%' FROM system.tables"
        return bool(client.query(f"{sql} WHERE database = '{database}' AND name = 'ticks'").result_rows[0][0])

    def stored() -> list[int]:
        client.command(f"OPTIMIZE TABLE {database}.ticks FINAL")
        return [row[0] for row in client.query(f"SELECT `offset` FROM {database}.ticks ORDER BY `offset`").result_rows]

    await sink.start()
    now_ms = client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0]
    far = 2**53  # no date: it is kept by the time of its reception
    await sink.insert_ticks(
        [archived(1), archived(2, event_time=now_ms), archived(3, event_time=far, producer_timestamp=now_ms)]
    )
    assert (ttl(), stored()) == (False, [1, 2, 3])
    sink._tick_retention_days = 30
    await sink.start()
    assert (ttl(), stored()) == (True, [2, 3])
    sink._tick_retention_days = 0
    await sink.start()
    assert not ttl()


async def rows_that_do_not_fit_are_refused(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    bad: list[dict[str, object]] = [
        {"trades": -1}, {"version": -1}, {"version": 2**64}, {"symbol": "\ud800"}, {"open": None}, {"symbol": None},
        {"window_start": 2**63}, {"open": "1"},
    ]  # fmt: skip
    for change in bad:
        with pytest.raises(SinkRefused, match="refuses the rows"):
            await sink.insert_candles([candle(1), candle(2, **change)])
    with pytest.raises(SinkRefused):
        await sink.insert_ticks([archived(1, day_volume=2**63)])
    await sink.insert_candles([candle(4)])
    assert candle(4) in await all_candles(sink)


async def rows_that_break_a_constraint_are_refused(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    client.command(f"ALTER TABLE {database}.candles_store ADD CONSTRAINT sane CHECK low <= high")
    with pytest.raises(SinkRefused, match="Code: 469"):
        await sink.insert_candles([candle(low=2.0, high=1.0)])
    assert await all_candles(sink) == []


async def a_missing_table_may_come_back(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    client.command(f"DROP TABLE {database}.candles_store")
    with pytest.raises(SinkUnreachable, match="Code: 60"):
        await sink.insert_candles([candle()])
    with pytest.raises(SinkUnreachable, match="Code: 60"):
        await all_candles(sink)


Check = Callable[[ClickHouseSink, Client, str], Awaitable[None]]
CHECKS: list[Check] = [
    schema_is_made_once,
    an_older_schema_is_upgraded,
    a_newer_schema_is_left_alone,
    every_field_comes_back,
    blocks_are_stored_as_their_rows_are,
    the_view_shows_the_promised_columns,
    the_greatest_version_wins,
    ticks_are_stored_once,
    a_tick_of_another_epoch_is_another_tick,
    ticks_archived_before_there_were_epochs_stay,
    reads_are_bounded,
    hostile_values_are_only_values,
    many_months_fit_one_insert,
    retention_follows_the_setting,
    rows_that_do_not_fit_are_refused,
    a_missing_table_may_come_back,
]
# The engine's streaming insert, which the test server uses, drops such rows without an error; a real server does not.
EMBEDDED_CHECKS: list[Check] = [*CHECKS, rows_that_break_a_constraint_are_refused]


@pytest.fixture
def database() -> str:
    return f"sink_{uuid4().hex}"


@pytest.fixture
async def sink(clickhouse: ClickHouseFacade, database: str) -> AsyncIterator[ClickHouseSink]:
    made = ClickHouseSink(f"{clickhouse.url}/{database}", connect_timeout_s=1, send_receive_timeout_s=5)
    yield made
    clickhouse.clear()
    await made.close()


@pytest.fixture
def client(clickhouse: ClickHouseFacade) -> Client:
    return clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_on_a_server(check: Check, sink: ClickHouseSink, client: Client, database: str) -> None:
    await check(sink, client, database)


def test_on_the_embedded_engine(tmp_path: Path) -> None:
    assert run_embedded(__file__, tmp_path / "engine") == [check.__name__ for check in EMBEDDED_CHECKS]


async def test_two_workers_may_start_at_once(clickhouse: ClickHouseFacade, database: str) -> None:
    sinks = [ClickHouseSink(clickhouse.url, database=database) for _ in range(4)]
    await asyncio.gather(*(each.start() for each in sinks))
    await asyncio.gather(*(each.insert_candles([candle(version=n)]) for n, each in enumerate(sinks)))
    assert await all_candles(sinks[0]) == [candle(version=3)]
    await asyncio.gather(*(each.close() for each in sinks))


async def test_a_reply_that_is_lost_stores_rows_once(
    clickhouse: ClickHouseFacade, sink: ClickHouseSink, client: Client, database: str
) -> None:
    await sink.start()
    clickhouse.fault(FaultMode.LOST, match=f"INSERT INTO `{database}`.`candles_store`")
    clickhouse.fault(FaultMode.LOST, match=f"INSERT INTO `{database}`.`ticks`")
    await sink.insert_candles([candle()])
    await sink.insert_ticks([archived(1)])

    # The driver has sent both again without a word, so there are two copies behind the one that counts.
    assert client.query(f"SELECT sum(rows) FROM system.parts WHERE database = '{database}'").result_rows[0][0] >= 4
    assert await all_candles(sink) == [candle()]
    assert client.query(f"SELECT `offset` FROM {database}.ticks FINAL").result_rows == [(1,)]


@pytest.mark.parametrize(
    ("mode", "count"),
    [
        (FaultMode.REFUSE, 1),
        (FaultMode.HANG, 1),
        (FaultMode.SERVER_ERROR, 1),
        (FaultMode.MEMORY, 1),
        (FaultMode.PARTS, 1),
        (FaultMode.FULL, 1),
        (FaultMode.READ_ONLY, 1),
        (FaultMode.READ_ONLY_USER, 1),
        (FaultMode.RESET, 3),
    ],
)
async def test_an_outage_passes(
    clickhouse: ClickHouseFacade, sink: ClickHouseSink, database: str, mode: FaultMode, count: int
) -> None:
    await sink.start()
    clickhouse.fault(mode, count=count, match="" if mode is FaultMode.REFUSE else "INSERT INTO")
    with pytest.raises(SinkUnreachable, match=r"^ClickHouse at http://127\.0\.0\.1:\d+ is not usable: [^\n]+$"):
        await sink.insert_candles([candle(0), candle(1)])
    clickhouse.clear()
    await sink.insert_candles([candle(0), candle(1), candle(2)])
    assert await all_candles(sink) == [candle(0), candle(1), candle(2)]


async def test_reads_do_not_wait_for_an_insert(clickhouse: ClickHouseFacade, database: str) -> None:
    sink = ClickHouseSink(clickhouse.url, database=database)
    await sink.start()
    clickhouse.fault(FaultMode.HANG, match="INSERT INTO")
    insert = asyncio.ensure_future(sink.insert_candles([candle()]))
    await sink.ping()
    assert await all_candles(sink) == []
    assert not insert.done()
    clickhouse.clear()
    await insert
    assert await all_candles(sink) == [candle()]
    await sink.close()


async def _embedded(path: str) -> None:
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    for number, check in enumerate(EMBEDDED_CHECKS):
        sink = ClickHouseSink(f"chdb://{path}", database=f"sink_{number}")
        await check(sink, client, f"sink_{number}")
        await sink.close()
        print(check.__name__, flush=True)
    client.close()


if __name__ == "__main__":
    asyncio.run(_embedded(sys.argv[1]))
