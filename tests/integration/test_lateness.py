"""Late prints at every stage of their candle through a worker, and through another that reads the same log anew."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner
from following import Following
from lateness import CASES, CLOSE_DELAY_MS, RETENTION_MS, WINDOWS, Case, Key, feed_delays_s, values_of
from places import by_http, by_sql

from stockstream.cli.main import main
from stockstream.models import Candle, Verdict
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

PARTITIONS = 2
PATIENCE_S = 60
SYMBOLS = [case.symbol for case in CASES]
SETTINGS = {
    "partitions": str(PARTITIONS),
    "close_delay_s": str(CLOSE_DELAY_MS // 1000),
    "retention_s": str(RETENTION_MS // 1000),
    "feed_delay_s": ",".join(f"{exchange}={delay_s}" for exchange, delay_s in feed_delays_s().items()),
}


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    """One worker that has been given every case: first what comes before the late prints, then those."""
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, **SETTINGS) as made:
        made.start()
        for step in range(max(len(case.steps()) for case in CASES) - 1):
            made.produce(tick for case in CASES for tick in [*case.steps()[:-1], *[[]] * 3][step])
            made.wait_drained(PATIENCE_S)
        yield made


@pytest.fixture(scope="module")
def followed(system: System) -> list[dict[str, object]]:
    """What a client of the stream was told of minutes, while the late prints came."""
    before = {key: candle.state for key, candle in system.candles_topic().items()}
    assert all(before[case.key(window)] == ("closed", "forming")[case.stage == "forming"] for case, window in cells())
    with Following(system.workers["w0"], f"symbols={','.join(SYMBOLS)}&interval=1m") as client:
        known = len(client.candles)
        system.produce(case.log()[-1] for case in CASES)
        system.wait_drained(PATIENCE_S)
        return client.candles[known:]


def cells() -> Iterator[tuple[Case, str]]:
    return ((case, window) for case in CASES for window in WINDOWS)


def letters(system: System) -> dict[str, tuple[str, int, int]]:
    """By symbol: reason, partition and offset."""
    found = {}
    for record in system.topics.read(system.topic("dead-letters")):
        headers = {name: value.decode() for name, value in record.headers.items() if isinstance(value, bytes)}
        symbol = (record.key or b"").decode()
        assert symbol not in found, f"{symbol} has two letters"
        found[symbol] = headers["reason"], int(headers["partition"]), int(headers["offset"])
    return found


def late_offsets(system: System) -> dict[str, tuple[int, int]]:
    """By symbol, where its late print lies: it is the last of its records."""
    return {tick.symbol: (partition, offset) for partition, log in system.tick_log().items() for offset, tick in log}


@pytest.mark.usefixtures("followed")
def test_the_topic_tells_of_every_state_with_growing_versions(system: System) -> None:
    told: dict[Key, list[Candle]] = {}
    for candle in system.candle_changes():
        told.setdefault(candle.key, []).append(candle)
    offsets = late_offsets(system)
    for case, window in cells():
        states = told[case.key(window)]
        versions = [candle.version for candle in states]
        assert versions == sorted(set(versions)), (case, window)
        assert list(dict.fromkeys(candle.state for candle in states)) == case.states(window), (case, window)
        assert values_of(states[-1]) == case.values(window), (case, window)
        is_last = states[-1].version % (1 << 55) == offsets[case.symbol][1]
        assert is_last is case.is_changed(window), (case, window)


@pytest.mark.usefixtures("followed")
def test_clickhouse_and_http_have_the_same(system: System) -> None:
    published = system.candles_topic()
    assert {published[case.key(window)].state for case, window in cells()} == {"forming", "closed", "amended"}
    assert by_sql(system) == published
    some = {case.symbol for case in CASES if case.late_s in (600, 1200)}
    found = by_http(system.workers["w0"], some)
    assert found == {key: candle for key, candle in published.items() if key[0] in some}


@pytest.mark.usefixtures("followed")
def test_only_rows_that_are_evicted_are_gone(system: System) -> None:
    for case in (case for case in CASES if case.late_s == 600):
        _, answer = system.workers["w0"].get(f"/tables/candles_1m/{case.symbol}")
        starts = {row["window_start_ms"] for row in answer["rows"]}
        assert (case.key("minute")[3] in starts) is (case.stage != "evicted"), case


def test_the_stream_tells_of_what_late_prints_change_and_of_nothing_else(followed: list[dict[str, object]]) -> None:
    told = {(each["symbol"], each["window_start_ms"]): each["state"] for each in followed}
    expected = {}
    for case, window in cells():
        symbol, interval, _, start_ms = case.key(window)
        if interval == "1m" and case.is_changed(window):
            expected[symbol, start_ms] = case.states(window)[-1]
    assert told == expected


@pytest.mark.usefixtures("followed")
def test_what_is_refused_is_a_dead_letter_and_archived(system: System) -> None:
    offsets = late_offsets(system)
    assert letters(system) == {
        case.symbol: (case.verdict, *offsets[case.symbol]) for case in CASES if case.verdict is not Verdict.ACCEPTED
    }
    archived = system.sql("SELECT symbol, verdict FROM ticks FINAL WHERE price = 50")
    # What the archive says follows from the record alone: it knows nothing of eviction.
    assert dict(archived) == {case.symbol: "late" if case.verdict is Verdict.LATE else "accepted" for case in CASES}


@pytest.mark.usefixtures("followed")
@pytest.mark.parametrize(
    "case",
    [
        Case("trade", "closed", 0, 600), Case("trade", "closed", 0, 1200), Case("snapshot", "closed", 900, 1200),
        Case("snapshot", "evicted", 0, 10),
    ],
    ids=lambda case: case.symbol.lower(),
)  # fmt: skip
def test_explain_tells_the_verdict(system: System, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["explain", case.symbol, str(case.key("minute")[3]), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    prints = [
        (each["price"], each["verdict"], each["offset"]) for each in found["records"] if each["kind"] == case.kind
    ]
    assert prints[0][:2] == (10.0, "accepted")
    assert prints[1] == (50.0, case.verdict, late_offsets(system)[case.symbol][1])
    candle, published = found["candle"], system.candles_topic()[case.key("minute")]
    assert (candle["close"], candle["version"]) == (published.close, published.version)
    assert {each["field"] for each in found["clickhouse"]["differences"]} <= {"state"}


@pytest.mark.usefixtures("followed")
@pytest.mark.parametrize("interval", ["1m", "5m", "1d"])
def test_a_topics_candles_lack_what_is_late_and_nothing_that_is_expired(
    system: System, interval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["candles", "--topic", system.topic("yfinance"), "--interval", interval])
    assert result.exit_code == 0, result.output
    made = {
        (row["symbol"], interval, "regular", int(row["start_ms"])): (float(row["high"]), float(row["volume"]))
        for row in csv.DictReader(io.StringIO(result.stdout))
    }
    for case, window in cells():
        key = case.key(window)
        if key[1] == interval:
            values = case.values(window) if case.verdict is Verdict.LATE else case.counted(window)
            assert made[key] == (values[1], values[4]), (case, window)
    late = sum(case.verdict is Verdict.LATE for case in CASES)
    assert result.stderr == f"stockstream: {late} trades left out: late {late}\n"


@pytest.mark.usefixtures("followed")
def test_what_a_rebuild_would_change_is_listed(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(
        main, ["candles", "--topic", system.topic("yfinance"), "--rebuilt", "--to", "2024-10-05"]
    )
    assert result.exit_code == 0, result.output
    places = late_offsets(system)
    listed = {
        (row["symbol"], int(row["start_ms"]), row["field"]): (row["now"], row["rebuilt"], row["ticks"])
        for row in csv.DictReader(io.StringIO(result.stdout))
    }
    expected = {}
    for case, window in cells():
        symbol, interval, _, start_ms = case.key(window)
        if interval == "1m" and case.verdict is not Verdict.ACCEPTED:
            ticks = "{}-{} {}".format(*places[symbol], case.verdict)
            volume = case.values(window)[4], case.counted(window)[4]
            if volume[0] != volume[1]:
                expected[symbol, start_ms, "volume"] = (f"{volume[0]}", f"{volume[1]}", ticks)
    assert {key: told for key, told in listed.items() if key[2] == "volume"} == expected
    closes = [told[:2] for (_, _, field), told in listed.items() if field == "close"]
    assert closes == [("10.0", "50.0")] * sum(case.verdict is not Verdict.ACCEPTED for case in CASES)


@pytest.mark.usefixtures("followed")
def test_another_worker_makes_the_same_of_the_same_log(
    system: System, kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade
) -> None:
    """Under another app id, from its beginning, as fast as it can."""
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, **SETTINGS) as again:
        topic = again.topic("yfinance")
        kafka.topics.create(topic, PARTITIONS)
        again.topics.produce(
            topic, [(record.key, record.value) for record in system.topics.read(system.topic("yfinance"))]
        )
        again.start()
        again.wait_drained(PATIENCE_S)
        assert late_offsets(again) == late_offsets(system)
        assert letters(again) == letters(system)
        # Whether what came late to a candle had closed it by then, or closes it now, is a matter of when one looks.
        assert by_state(again.candles_topic()) == by_state(system.candles_topic())
        assert by_state(by_sql(again)) == by_state(by_sql(system))


def by_state(candles: dict[Key, Candle]) -> dict[Key, Candle]:
    return {
        key: replace(candle, state="closed" if candle.state == "amended" else candle.state, vwap=None)
        for key, candle in candles.items()
    }
