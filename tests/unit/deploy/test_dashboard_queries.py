"""Every query of the dashboards on ClickHouse's engine, on the sink's own schema, macros and variables filled in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from stockstream.models import Candle, Tick, Verdict
from stockstream.models.tick import Kind
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick
from stockstream.testing.clickhouse import ClickHouseFacade

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
SYMBOL, OTHER = "BINANCE:BTCUSDT", "^GSPC"


def filled(sql: str, from_ms: int, to_ms: int, **variables: str) -> str:
    """The SQL as Grafana's ClickHouse plugin sends it: its macros of time, then the dashboard's variables."""
    low, high = (f"fromUnixTimestamp64Milli({ms})" for ms in (from_ms, to_ms))
    sql = re.sub(r"\$__timeFilter_ms\(([^)]*)\)", rf"\1 >= {low} AND \1 <= {high}", sql)
    sql = sql.replace("$__fromTime_ms", low).replace("$__toTime_ms", high)
    for name, value in variables.items():
        sql = sql.replace(f"${name}", value)
    assert "$" not in sql, sql
    return sql


def candle(symbol: str, interval: str, start_ms: int, **other: Any) -> Candle:
    end_ms = start_ms + {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1d": DAY_MS}[interval]
    whole = Candle(
        symbol, interval, "regular", start_ms, end_ms, 10.0, 12.0, 9.0, 11.0, 2.5, 10.5, 7, True, 1,
        start_ms, end_ms, state="closed",
    )  # fmt: skip
    return replace(whole, **other)


class Stored:
    """A database with ten minutes of two symbols, that ended two minutes ago, and what was asked of it."""

    def __init__(self, client: Client, database: str, now_ms: int) -> None:
        self.client, self.database, self.now_ms = client, database, now_ms
        self.t0_ms = (now_ms - 12 * MINUTE_MS) // MINUTE_MS * MINUTE_MS

    def rows(self, sql: str, **variables: str) -> list[dict[str, Any]]:
        sql = filled(sql, self.now_ms - 60 * MINUTE_MS, self.now_ms + 60 * MINUTE_MS, **variables)
        result = self.client.query(sql)
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def candles(self) -> list[Candle]:
        t0 = self.t0_ms
        made = [candle(SYMBOL, "1m", t0 + n * MINUTE_MS, open=10.0 + n, close=11.0 + n) for n in range(9)]
        made.append(candle(SYMBOL, "1m", t0 + 9 * MINUTE_MS, is_closed=False, state="forming", close=25.0))
        made.append(candle(OTHER, "1m", t0, open=100.0, close=90.0, volume=None, partial=True))
        made.append(replace(made[1], session="extended"))
        made += [candle(symbol, "1d", t0 // DAY_MS * DAY_MS, is_closed=False) for symbol in (SYMBOL, OTHER)]
        return made

    def amended(self) -> Candle:
        return replace(self.candles()[0], version=2, state="amended", corrected=True, close=10.5)

    def ticks(self) -> list[ArchivedTick]:
        """Three trades that were accepted and two that were not; a hole that was repaired and one in part."""
        t0 = self.t0_ms
        spans: list[tuple[Kind, int, int]] = [("gap", 0, 20_000), ("gap", 30_000, 50_000), ("repair", 10_000, 60_000)]
        ticks = [Tick(SYMBOL, t0 + n * 1000, 10.0, 1.0) for n in range(5)]
        ticks += [
            Tick(SYMBOL, t0 + low, kind=kind, until=t0 + high, cause=kind, source="binance")
            for kind, low, high in spans
        ]
        return [
            ArchivedTick(
                replace(tick, producer_timestamp=t0 + n * 1000 + 50),
                Verdict.LATE if n in (3, 4) else Verdict.ACCEPTED, "crypto-prices", 0, n,
            )
            for n, tick in enumerate(ticks)
        ]  # fmt: skip


@pytest.fixture
async def stored(clickhouse: ClickHouseFacade) -> AsyncIterator[Stored]:
    database = f"dashboards_{uuid4().hex}"
    sink = ClickHouseSink(clickhouse.url, database=database)
    await sink.start()
    client = clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, database=database)
    stored = Stored(client, database, client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])
    client.command("SYSTEM STOP MERGES candles_store")  # the older version stays beside the newer one
    await sink.insert_candles(stored.candles())
    await sink.insert_candles([stored.amended()])
    await sink.insert_ticks(stored.ticks())
    yield stored
    client.command(f"DROP DATABASE {database}")
    client.close()
    await sink.close()


@pytest.fixture
def queries(dashboards: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The SQL of each panel by its title, and of each query variable by its name."""
    found: dict[str, list[str]] = {}
    for board in dashboards.values():
        for panel in board["panels"]:
            found[panel["title"]] = [target["rawSql"] for target in panel["targets"]]
        for each in board["templating"]["list"]:
            if each["type"] == "query":
                found[each["name"]] = [each["query"]]
    return found


CHOSEN = {"symbol": SYMBOL, "interval": "1m", "session": "regular"}


async def test_every_query_answers(queries: dict[str, list[str]], stored: Stored) -> None:
    for title, statements in queries.items():
        for sql in statements:
            assert stored.rows(sql, **CHOSEN), title


async def test_time_series_have_a_time_and_numbers(dashboards: dict[str, dict[str, Any]], stored: Stored) -> None:
    for board in dashboards.values():
        for panel in board["panels"]:
            for target in panel["targets"]:
                sql = filled(target["rawSql"], stored.t0_ms, stored.now_ms, **CHOSEN)
                kinds = dict(row[:2] for row in stored.client.query(f"DESCRIBE TABLE ({sql})").result_rows)
                if panel["type"] == "timeseries":
                    assert re.match(r"DateTime(64)?\b", kinds.pop("time")), panel["title"]
                    labels = [name for name, kind in kinds.items() if "String" in kind]
                    assert len(labels) <= 1, panel["title"]
                    assert len(labels) < len(kinds), panel["title"]
                if panel["type"] == "stat":
                    assert len(kinds) == 1, panel["title"]


async def test_variables_offer_what_is_stored(queries: dict[str, list[str]], stored: Stored) -> None:
    assert [row["symbol"] for row in stored.rows(queries["symbol"][0])] == [SYMBOL, OTHER]
    assert [row["session"] for row in stored.rows(queries["session"][0])] == ["regular", "extended"]


async def test_candles_are_the_newest_versions_of_one_session(queries: dict[str, list[str]], stored: Stored) -> None:
    rows = stored.rows(queries["$symbol, $interval"][0], **CHOSEN)
    assert list(rows[0]) == ["time", "open", "high", "low", "close", "volume"]
    assert [row["open"] for row in rows] == [10.0 + n for n in range(9)] + [10.0]
    assert [row["close"] for row in rows] == [10.5] + [11.0 + n for n in range(1, 9)] + [25.0]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


async def test_movers_compare_the_first_open_with_the_last_close(queries: dict[str, list[str]], stored: Stored) -> None:
    rows = stored.rows(queries["Movers"][0], **CHOSEN)
    assert [(row["symbol"], round(row["change_percent"], 6), row["total_volume"]) for row in rows] == [
        (SYMBOL, 150.0, 25.0),
        (OTHER, -10.0, None),
    ]


async def test_flags_are_listed(queries: dict[str, list[str]], stored: Stored) -> None:
    rows = stored.rows(queries["Candles with a flag"][0], **CHOSEN)
    flags = [(row["symbol"], row["partial"], row["gap"], row["corrected"]) for row in rows]
    assert flags == [(SYMBOL, False, False, True), (OTHER, True, False, False)]


async def test_ticks_are_counted_by_verdict(queries: dict[str, list[str]], stored: Stored) -> None:
    counted = stored.rows(queries["Ticks by topic and verdict"][0])
    assert [(row["topic"], row["verdict"], row["ticks"]) for row in counted] == [
        ("crypto-prices", "accepted", 6),
        ("crypto-prices", "late", 2),
    ]
    assert stored.rows(queries["Ticks stored"][0]) == [{"stored": 8}]
    assert stored.rows(queries["Not accepted"][0]) == [{"share": 25.0}]
    refused = stored.rows(queries["Ticks not accepted, by verdict"][0])
    assert {row["verdict"] for row in refused} == {"late"}
    assert sum(row["ticks"] for row in refused) == 2


async def test_holes_are_counted_and_listed(queries: dict[str, list[str]], stored: Stored) -> None:
    assert stored.rows(queries["Open holes"][0]) == [{"holes": 1}]
    assert stored.rows(queries["Still missing"][0]) == [{"missing_ms": 10_000}]
    listed = stored.rows(queries["Newest holes"][0])
    assert [(row["symbol"], row["state"], row["open_ms"], row["reason"]) for row in listed] == [
        (SYMBOL, "repaired", 0, "repair"),
        (SYMBOL, "open", 10_000, None),
    ]
    before = filled(queries["Newest holes"][0], 0, stored.t0_ms - 1)
    assert stored.client.query(before).result_rows == []


async def test_ages_and_lags_are_those_of_what_was_stored(queries: dict[str, list[str]], stored: Stored) -> None:
    for title in ("Candles: since the last insert", "Ticks: since the last insert"):
        ((age_ms,),) = [tuple(row.values()) for row in stored.rows(queries[title][0])]
        assert 0 <= age_ms < 10 * MINUTE_MS
    newest = {row["interval"]: row for row in stored.rows(queries["Newest candle of each interval"][0])
              if row["session"] == "regular"}  # fmt: skip
    assert list(newest) == ["1m", "1d"]
    assert (newest["1m"]["symbols"], newest["1m"]["open_candles"]) == (2, 1)
    assert (newest["1d"]["symbols"], newest["1d"]["open_candles"]) == (2, 2)
    assert newest["1m"]["age_ms"] >= stored.now_ms - stored.t0_ms - 9 * MINUTE_MS
    for row in stored.rows(queries["Lag of ticks: from the producer to ClickHouse"][0]):
        assert 10 * MINUTE_MS < row["p50"] <= row["p99"]
    for row in stored.rows(queries["Lag of candles: from the window's end to ClickHouse"][0]):
        assert row["interval"] == "1m"
        assert row["p99"] >= 2 * MINUTE_MS


async def test_an_empty_database_breaks_no_query(queries: dict[str, list[str]], stored: Stored) -> None:
    for table in ("candles_store", "ticks"):
        stored.client.command(f"TRUNCATE TABLE {stored.database}.{table}")
    for title, statements in queries.items():
        for sql in statements:
            assert len(stored.rows(sql, **CHOSEN)) <= 1, title
