"""Regular and extended hours of a share in New York, everywhere that its candles can be read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from following import Following
from places import by_http, by_sql
from reference import CandleKey, Reference, assert_as_in, reference_candles, venue_of

from stockstream.calendars import calendars_in
from stockstream.cli.main import main
from stockstream.core.interval import SESSIONS
from stockstream.models import Candle, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

SHARE, OTHER = "AAPL", "MSFT"
BEFORE, REGULAR, AFTER = 0, 1, 2
PATIENCE_S = 60
# The pre-market begins at 09:00 in UTC, the session at 14:30; it ends at 21:00, and the date at 01:00.
PRINTS = [
    ("2026-11-24T09:00:05", 100, 10, BEFORE),
    ("2026-11-24T14:29:50", 101, 50, BEFORE),
    ("2026-11-24T14:30:01", 102, 150, REGULAR),
    ("2026-11-24T20:59:59", 103, 900, REGULAR),
    ("2026-11-24T21:00:20", 104, 950, REGULAR),  # of the last moment of the session, told a bit later
    ("2026-11-24T21:00:40", 105, 960, AFTER),
    ("2026-11-25T00:59:00", 106, 1000, AFTER),
    ("2026-11-25T02:30:00", 99, 1000, AFTER),  # between two dates
    ("2026-11-25T14:31:00", 110, 70, REGULAR),
    ("2026-11-25T21:05:00", 111, 80, AFTER),
    ("2026-11-30T14:30:00", 112, 5, REGULAR),  # the next trading date but one: the 26th is a holiday
    ("2026-11-30T21:30:00", 113, 9, AFTER),
]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def ticks() -> Iterator[Tick]:
    for symbol in (SHARE, OTHER):
        yield Tick(symbol, at("2026-11-24T08:00:00"), kind="start", producer_timestamp=at("2026-11-24T08:00:00"))
    for number, (when, price, volume, market_hours) in enumerate(PRINTS):
        told = {"exchange": "NMS", "market_hours": market_hours, "producer_timestamp": at(when) + 1000}
        yield Tick(SHARE, at(when), float(price), day_volume=volume, kind="snapshot", **told)  # type: ignore[arg-type]
        yield Tick(OTHER, at(when), float(price), 2.0, trade_id=number, **told)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, partitions="2") as made:
        made.start()
        made.produce(ticks())
        made.wait_drained(PATIENCE_S)
        yield made


@pytest.fixture(autouse=True)
def environment(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def expected(system: System) -> dict[CandleKey, Reference]:
    calendar = calendars_in(None).get("XNAS")
    assert calendar is not None
    venue = venue_of(calendar)
    return {
        key: candle
        for log in system.tick_log().values()
        for key, candle in reference_candles(log, lambda symbol: venue).items()
    }


def test_every_place_has_the_candles_of_both_sessions(system: System, expected: dict[CandleKey, Reference]) -> None:
    worker = system.workers["w0"]
    published = system.candles_topic()
    assert_as_in(expected, published)
    assert_as_in(expected, by_sql(system))
    asked = {
        key: each for session in SESSIONS for key, each in by_http(worker, (SHARE, OTHER), session=session).items()
    }
    assert_as_in(expected, asked)
    days = {(key[2], candle.session_open, candle.session_close) for key, candle in asked.items() if key[1] == "1d"}
    assert ("regular", at("2026-11-24T14:30:00"), at("2026-11-24T21:00:00")) in days
    assert ("extended", at("2026-11-24T09:00:00"), at("2026-11-25T01:00:00")) in days
    assert {session: volume_of(asked, session, "2026-11-24") for session in SESSIONS} == {
        "regular": 950.0, "extended": 1000.0,
    }  # fmt: skip


def volume_of(candles: dict[CandleKey, Candle], session: str, day: str) -> float | None:
    return candles[SHARE, "1d", session, at(day)].volume


def test_a_stray_print_has_a_minute_and_no_day(system: System) -> None:
    extended = by_http(system.workers["w0"], [SHARE], session="extended")
    stray = extended[SHARE, "1m", "extended", at("2026-11-25T02:30")]
    # The vendor still tells what it counted on the date before.
    assert (stray.close, stray.volume, stray.partial) == (99.0, 0.0, True)
    days = [candle for candle in extended.values() if candle.interval == "1d"]
    assert sorted(day.window_start for day in days) == [at("2026-11-24"), at("2026-11-25"), at("2026-11-30")]
    assert all(day.low >= 100 for day in days)


def test_filled_are_trading_dates_alone(system: System) -> None:
    for session in SESSIONS:
        _, answer = system.workers["w0"].get(f"/candles/{SHARE}?interval=1d&session={session}&fill=previous")
        filled = [(candle["window_start"][:10], candle["version"] == "0") for candle in answer["candles"]]
        assert filled == [
            ("2026-11-24", False), ("2026-11-25", False), ("2026-11-27", True), ("2026-11-30", False),
        ]  # fmt: skip


def test_the_stream_tells_of_the_session_that_is_followed(system: System) -> None:
    late = Tick(
        SHARE, at("2026-11-30T21:30:30"), 114.0, day_volume=11, kind="snapshot", exchange="NMS", market_hours=AFTER,
        producer_timestamp=at("2026-11-30T21:30:31"),
    )  # fmt: skip
    with (
        Following(system.workers["w0"], f"symbols={SHARE}&interval=1d&session=extended") as extended,
        Following(system.workers["w0"], f"symbols={SHARE}&interval=1d&session=regular") as regular,
    ):
        known = [candle["close"] for candle in extended.candles]
        system.produce([late])
        system.wait_drained(PATIENCE_S)
    assert known == [113.0]  # the view keeps two hours, and always the newest
    assert [candle["close"] for candle in extended.candles] == [113.0, 114.0]
    assert {candle["session"] for candle in extended.candles} == {"extended"}
    assert [candle["close"] for candle in regular.candles] == [112.0]


@pytest.mark.parametrize(
    ("start", "interval", "session", "prices", "volume"),
    [
        ("2026-11-24T21:00:00Z", "1m", "regular", [104.0], 50),
        ("2026-11-24T21:00:00Z", "1m", "extended", [105.0], 10),
        ("2026-11-25T02:30:00Z", "1m", "extended", [99.0], 0),
        ("2026-11-24", "1d", "regular", [102.0, 103.0, 104.0], 950),
        ("2026-11-25T00:30:00Z", "1d", "extended", [100.0, 101.0, 105.0, 106.0], 1000),  # still the 24th in New York
    ],
)
def test_a_candle_is_explained_by_the_records_of_its_session(
    start: str, interval: str, session: str, prices: list[float], volume: int
) -> None:
    arguments = ["explain", SHARE, start, "--interval", interval, "--session", session, "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [each["price"] for each in found["records"] if each["kind"] == "snapshot"] == prices
    assert (found["session"], found["candle"]["close"], found["candle"]["volume"]) == (session, prices[-1], volume)
    assert found["clickhouse"] == {"equal": True, "differences": [], "error": None}


def test_a_topics_candles_are_the_workers(system: System, expected: dict[CandleKey, Reference]) -> None:
    for session in SESSIONS:
        arguments = ["candles", "--topic", system.topic("yfinance"), "--session", session, "--interval", "5m"]
        arguments += ["--to", "2026-11-30"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        printed = {
            (row["symbol"], "5m", session, int(row["start_ms"])): (float(row["close"]), float(row["volume"]))
            for row in csv.DictReader(io.StringIO(result.stdout))
        }
        assert printed == {
            key: (each.close, float(each.volume or 0))
            for key, each in expected.items()
            if key[1:3] == ("5m", session) and key[3] < at("2026-11-30")
        }
