"""`stockstream explain`: every record behind a candle, by hand, and what a worker made of the same records."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stockstream.broker.topics import key_partition
from stockstream.cli.main import main
from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

T0_MS = 1_700_000_040_000  # 2023-11-14T22:14:00Z
START = "2023-11-14T22:14:00Z"
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
KEPT_MS = 172_800_000
PARTITIONS = 3
PATIENCE_S = 180
COIN, SHARE = "BINANCE:XUSDT", "AAPL"
CLOSED = 1 << 55

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    settings = {"partitions": str(PARTITIONS), "tick_topics": "yfinance,crypto-prices", "repair_enabled": "false"}
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, **settings) as made:
        made.start(wait=False).wait_ready(PATIENCE_S)
        fill(made)
        made.wait_drained(PATIENCE_S)
        foreign = trade(10_000, 9999, trade_id=11)
        made.produce([foreign], "yfinance")
        made.wait_drained(PATIENCE_S)
        yield made


@pytest.fixture(autouse=True)
def environment(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)


def trade(after_ms: int, price: float, **fields: Any) -> Tick:
    event_ms = T0_MS + after_ms
    tick = Tick(COIN, event_ms, price, producer_timestamp=event_ms + 7, source="binance", last_size=1)
    return replace(tick, **fields)


def snapshot(after_ms: int, price: float, day_volume: int) -> Tick:
    event_ms = T0_MS + after_ms
    return Tick(SHARE, event_ms, price, day_volume=day_volume, kind="snapshot", producer_timestamp=event_ms + 500)


def control(symbol: str, kind: Any, after_ms: int, until_ms: int | None = None, cause: str | None = None) -> Tick:
    event_ms, until = T0_MS + after_ms, None if until_ms is None else T0_MS + until_ms
    return Tick(symbol, event_ms, kind=kind, until=until, cause=cause, producer_timestamp=until or event_ms)


def fill(system: System) -> None:
    encode = system.encoder("crypto-prices")
    other = replace(trade(1500, 5.0), symbol="BINANCE:OTHER")
    log: list[Tick | tuple[bytes, bytes]] = [
        control(COIN, "start", -HOUR_MS),  # 0
        trade(-1, 90, trade_id=1),
        trade(1000, 100, last_size=0.5, trade_id=2),
        other,  # 3: of another symbol
        trade(3000, 102, last_size=0.25, trade_id=4),
        trade(2000, 99, last_size=0.1, trade_id=3),
        trade(3000, 102, last_size=0.25, trade_id=4),  # 6: again
        (COIN.encode(), b"{nonsense"),
        trade(4000, -1, trade_id=5),
        trade(5000, 101, last_size=1e-8, trade_id=6),
        (COIN.encode(), encode(other)),  # 10
        control(COIN, "gap", 5500, 5800, "closed 1001"),
        trade(59_999, 98, last_size=2, trade_id=7),
        trade(60_000, 500, trade_id=8),  # 13: of the next window
        trade(30_000, 1000, trade_id=9, producer_timestamp=T0_MS + 30_000 + 900_001),
        trade(40_000, 1001, trade_id=9, producer_timestamp=T0_MS + 40_000 - 60_001),
        (COIN.encode(), b"\0\xff\xff\xff\xffrest"),  # 16: lies behind all but the expired one
        trade(KEPT_MS + 2 * MINUTE_MS, 7, trade_id=12),
        trade(50_000, 1002, trade_id=10),  # 18
        (COIN.encode(), b"{no more"),  # 19
    ]
    records = [each if isinstance(each, tuple) else (each.symbol.encode(), encode(each)) for each in log]
    system.topics.produce(system.topic("crypto-prices"), records, partition_of(COIN))
    system.produce(
        [
            control(SHARE, "start", -2 * HOUR_MS),
            snapshot(-90_000, 10, 1000),
            snapshot(1000, 11, 1250),
            snapshot(2000, 12, 1300),
            snapshot(70_000, 13, 1400),  # closes the window before
            control(SHARE, "gap", 3 * MINUTE_MS, 4 * MINUTE_MS, "silent"),  # reaches into no window here
        ]
    )


def partition_of(symbol: str) -> int:
    return key_partition(symbol.encode(), PARTITIONS)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments])


def explained(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


WINDOW = [
    (0, "start", "accepted"),
    (2, "trade", "accepted"),
    (4, "trade", "accepted"),
    (5, "trade", "accepted"),
    (6, "trade", "duplicate"),
    (7, None, "corrupt"),
    (8, "trade", "bad price"),
    (9, "trade", "accepted"),
    (10, None, "key mismatch"),
    (11, "gap", "accepted"),
    (12, "trade", "accepted"),
    (14, "trade", "late"),
    (15, "trade", "future"),
    (16, None, "corrupt"),
    (18, "trade", "expired"),
]


def test_every_record_of_the_window_has_its_verdict(system: System) -> None:
    found = explained(COIN, START)
    own = [each for each in found["records"] if each["topic"] == system.topic("crypto-prices")]
    assert [(each["offset"], each["kind"], each["verdict"]) for each in own] == WINDOW
    assert {each["partition"] for each in found["records"]} == {partition_of(COIN)}
    others = [each for each in found["records"] if each not in own]
    assert [(each["topic"], each["price"], each["verdict"]) for each in others] == [
        (system.topic("yfinance"), 9999.0, "foreign topic")
    ]
    assert found["others"] == {"corrupt": 1}
    gap = own[9]
    assert (gap["event_time"], gap["until"], gap["told"]) == (
        "2023-11-14T22:14:05.500Z",
        "2023-11-14T22:14:05.800Z",
        "closed 1001",
    )
    assert own[1] == {
        "topic": system.topic("crypto-prices"),
        "partition": partition_of(COIN),
        "offset": 2,
        "event_time": "2023-11-14T22:14:01.000Z",
        "received": "2023-11-14T22:14:01.007Z",
        "until": None,
        "kind": "trade",
        "price": 100.0,
        "size": 0.5,
        "cumulative": None,
        "trade_id": 2,
        "verdict": "accepted",
        "told": None,
    }


def test_the_verdicts_are_those_by_which_the_worker_put_records_away(system: System) -> None:
    letters = {
        (headers["topic"], int(headers["offset"] or -1)): headers["reason"]
        for record in system.topics.read(system.topic("dead-letters"))
        if (headers := {name: text(value) for name, value in record.headers.items()})["partition"]
        == str(partition_of(COIN))
    }
    found = {
        (each["topic"], each["offset"]): each["verdict"]
        for each in explained(COIN, START)["records"]
        if each["verdict"] not in ("accepted", "duplicate")
    }
    last = (system.topic("crypto-prices"), 19)
    assert letters.pop(last) == "corrupt"
    assert found == letters
    assert len(found) == 8


def text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def test_the_candle_is_the_worker_s(system: System) -> None:
    found = explained(COIN, START)
    candle = found["candle"]
    assert [candle[name] for name in ("open", "high", "low", "close", "trades")] == [100, 102, 98, 98, 5]
    assert (candle["exact_volume"], candle["version"], candle["state"]) == ("2.85000001", CLOSED + 12, "closed")
    assert [candle[name] for name in ("partial", "gap", "corrected")] == [False, True, False]
    assert {name: place["offset"] for name, place in found["edges"].items()} == {
        "open": 2,
        "high": 4,
        "low": 12,
        "close": 12,
    }
    assert found["clickhouse"] == {"equal": True, "differences": [], "error": None}
    made = system.candles_topic()[COIN, "1m", "regular", T0_MS]
    assert made.version == candle["version"]


@pytest.mark.parametrize(("interval", "made_of"), [("5m", [1, 2, 4, 5, 9, 12]), ("1d", [1, 2, 4, 5, 9, 12, 13])])
def test_longer_candles_are_the_worker_s_too(interval: str, made_of: list[int]) -> None:
    found = explained(COIN, str(T0_MS + 1234), "--interval", interval)
    assert found["clickhouse"]["equal"], found["clickhouse"]
    accepted = [
        each["offset"] for each in found["records"] if each["verdict"] == "accepted" and each["kind"] == "trade"
    ]
    assert accepted == made_of
    assert found["candle"]["trades"] == len(made_of)


def test_cumulative_volume_counts_from_the_record_that_is_told(system: System) -> None:
    found = explained(SHARE, START)
    records = found["records"]
    assert [(each["kind"], each["cumulative"]) for each in records] == [
        ("start", None),
        ("snapshot", 1250),
        ("snapshot", 1300),
    ]
    assert (found["candle"]["exact_volume"], found["candle"]["trades"]) == ("300", None)
    before = records[0]["offset"] + 1
    assert found["baseline"] == {"event_ms": T0_MS - 90_000, "cumulative": 1000, "offset": before}
    assert found["clickhouse"]["equal"]
    assert not any(found["candle"][name] for name in ("partial", "gap", "corrected"))


def test_the_text_has_a_line_a_record(system: System) -> None:
    result = run(COIN, START)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{COIN} 1m from 2023-11-14T22:14:00.000Z to 2023-11-14T22:15:00.000Z"
    assert " ".join(lines[2].split()) == "topic partition offset event received kind price size trade id verdict"
    told = "2 2023-11-14T22:14:01.000Z 2023-11-14T22:14:01.007Z trade 100 0.5 2 accepted open"
    assert " ".join(lines[4].split()[2:]) == told
    assert lines[13].split()[-3:] == ["accepted", "low,", "close"]
    assert lines[12].split()[5:] == ["gap", "accepted", "until", "2023-11-14T22:14:05.800Z,", "closed", "1001"]
    counted = (
        "accepted 7, bad price 1, corrupt 2, duplicate 1, expired 1, foreign topic 1, future 1, key mismatch 1, late 1"
    )
    assert lines[20] == f"16 records: {counted}"
    assert lines[21] == "elsewhere in the log, of this key: 1 record: corrupt 1"
    facts = {line.split()[0]: line.split()[1:] for line in lines[23:]}
    assert facts["open"] == ["100", "offset", "2"]
    assert facts["volume"] == ["2.85000001"]
    assert facts["flags"] == ["gap"]
    assert facts["clickhouse"] == ["equal"]


def test_what_clickhouse_has_otherwise_is_told_field_by_field(system: System) -> None:
    system.sql(
        "INSERT INTO candles_store SELECT * REPLACE (version + 1 AS version, close + 1 AS close) FROM candles_store "
        f"WHERE symbol = '{SHARE}' AND interval = '5m'"
    )
    start = str(T0_MS)
    result = run(SHARE, start, "--interval", "5m")
    told = [line.split(maxsplit=2)[1:] for line in result.stdout.splitlines() if line.startswith("clickhouse")]
    made = explained(SHARE, start, "--interval", "5m")["candle"]["version"]
    assert told == [
        ["differs", "close: 12.0 here, 13.0 at ClickHouse"],
        ["differs", f"version: {made} here, {made + 1} at ClickHouse"],
    ]
    assert "clickhouse" not in run(SHARE, start, "--interval", "5m", "--no-clickhouse").stdout


def test_a_clickhouse_that_is_away_is_told_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        found = explained(COIN, START)
    assert not found["clickhouse"]["equal"]
    assert "set CLICKHOUSE_URL" in found["clickhouse"]["error"]


def test_a_window_without_a_tick_is_one_line_with_what_is_kept(system: System, kafka: KafkaCluster) -> None:
    topic = f"kept-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(topic, 2, config={"retention.ms": str(6 * HOUR_MS)})
    arguments = (COIN, START, "--topic", topic, "--from", "2023-11-01")
    window = "from 2023-11-14T22:14:00.000Z to 2023-11-14T22:15:00.000Z"
    read = "in what the log took since 2023-11-01T00:00:00.000Z"
    result = run(*arguments, "--no-clickhouse")
    # The other topics are read too, and their records found: this one brings none.
    assert result.exit_code == 0, result.output
    nothing = f"EMPTY{uuid.uuid4().hex[:6].upper()}"
    result = run(nothing, START, "--topic", topic, "--from", "2023-11-01")
    kept = f"{topic}, which keeps records for 6 hours; {read} there is none at all\n"
    # By its name it is traded in New York, and so in sessions.
    none = f"stockstream: no tick of {nothing} in the regular session {window} is in topic "
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", none + kept)
    later = {"symbol": nothing, "price": 1, "event_time": T0_MS + HOUR_MS}
    kafka.topics.produce(topic, [(nothing.encode(), json.dumps(later).encode())])
    result = run(nothing, START, "--topic", topic, "--from", "2023-11-01")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"{read} the earliest is of 2023-11-14T23:14:00.000Z\n")
    assert run(nothing, str(T0_MS + HOUR_MS), "--topic", topic, "--no-clickhouse").exit_code == 0


def test_servers_that_are_away_are_one_line(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(SHARE, START, "--topic", "nowhere")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "there is no topic nowhere" in result.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        result = run(COIN, START)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "SCHEMA_REGISTRY_URL" in result.stderr
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{taken.getsockname()[1]}")
        result = run(COIN, START)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "no Kafka broker answers" in result.stderr
