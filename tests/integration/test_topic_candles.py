"""`stockstream candles --topic`: what a worker made of the same records, and what a file of them comes to."""

from __future__ import annotations

import csv
import io
import json
import random
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from stockstream.cli.main import main
from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

MINUTE_MS, DAY_MS = 60_000, 86_400_000
T0_MS = 1_699_999_200_000  # 22:00: the trades cross midnight
TRADES = 3000
PATIENCE_S = 180

pytestmark = pytest.mark.timeout(400)
SEED = Path(__file__).parents[1] / "data" / "seeds" / "ticker_24h.jsonl"
PRICES = ("open", "high", "low", "close", "volume")

CandleId = tuple[str, int]


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, partitions="3") as made:
        made.start(wait=False).wait_ready(PATIENCE_S)
        fill(made)
        made.wait_drained(PATIENCE_S)
        yield made


@pytest.fixture(autouse=True)
def environment(kafka: KafkaCluster, registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)


def trades() -> list[Tick]:
    """Two symbols over four hours, in disorder of seconds, some twice."""
    rng, ticks = random.Random(7), []
    for number in range(TRADES):
        event_ms = T0_MS + number * 4 * 3_600_000 // TRADES
        size = rng.randint(1, 10**9) / 10**8
        ticks.append(
            Tick(
                f"BINANCE:{'AB'[number % 2]}",
                event_ms,
                rng.randint(1, 999) / 8,
                size,
                trade_id=number,
                source="binance",
            )
        )
    ticks += rng.sample(ticks, 100)
    ticks.sort(key=lambda tick: tick.event_time + rng.uniform(0, 5000))
    return [replace(tick, producer_timestamp=max(tick.event_time, T0_MS) + 5000) for tick in ticks]


def snapshots() -> list[Tick]:
    """Subscribed before midnight, with cumulative volume, a hole, and a price that comes too late."""
    begin_ms = T0_MS + 3_600_000

    def at(minute: float, **fields: Any) -> Tick:
        event_ms = begin_ms + int(minute * MINUTE_MS)
        return replace(Tick("AAPL", event_ms, kind="snapshot", producer_timestamp=event_ms + 500), **fields)

    prices = [
        at(minute, price=100 + minute / 7, day_volume=1000 + 13 * minute if minute < 60 else 7 * (minute - 59))
        for minute in range(1, 120)
        if not 80 <= minute < 85
    ]
    gap = at(
        80,
        kind="gap",
        until=begin_ms + 85 * MINUTE_MS,
        cause="disconnected",
        producer_timestamp=begin_ms + 85 * MINUTE_MS,
    )
    late = at(90, price=9999.0, day_volume=999_999, producer_timestamp=begin_ms + 110 * MINUTE_MS)
    return [at(0, kind="start"), *prices[:79], gap, *prices[79:], late]


def fill(system: System) -> None:
    topic = system.topic("yfinance")
    system.produce([*trades(), *snapshots()])
    ticker = {"symbol": "JSON", "price": 1.5, "event_time": T0_MS, "kind": "trade", "last_size": 2}
    encode = system.encoder()
    system.topics.produce(
        topic,
        [
            (b"JSON", json.dumps(ticker).encode()),
            (b"JSON", b"{nonsense"),
            (None, encode(trades()[0])),
            (b"OTHER", encode(trades()[0])),
            (b"AAPL", b"\0\xff\xff\xff\xffrest"),
            (b"BNBBTC", SEED.read_bytes().splitlines()[0]),
        ],
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["candles", *arguments])


def printed(result: Result) -> dict[CandleId, tuple[Any, ...]]:
    assert result.exit_code == 0, result.output
    return {
        (row["symbol"], int(row["start_ms"])): (
            *(Decimal(row[name]) if row[name] else None for name in PRICES),
            int(row["trades"]) if row["trades"] else None,
        )
        for row in csv.DictReader(io.StringIO(result.stdout))
    }


def made(system: System, interval: str) -> dict[CandleId, tuple[Any, ...]]:
    """The worker's."""
    return {
        (candle.symbol, candle.window_start): (
            *(None if (value := getattr(candle, name)) is None else Decimal(repr(value)) for name in PRICES),
            candle.trades,
        )
        for (_, length, _, _), candle in system.candles_topic().items()
        if length == interval
    }


@pytest.mark.parametrize("interval", ["1m", "5m", "1d"])
def test_the_candles_are_those_that_the_worker_made(system: System, interval: str) -> None:
    result = run("--topic", system.topic("yfinance"), "--interval", interval)
    candles = printed(result)
    assert candles == made(system, interval)
    assert {symbol for symbol, _ in candles} == {"AAPL", "BINANCE:A", "BINANCE:B", "JSON"}
    latest = system.latest_topic()["BNBBTC"]  # of a 24 h ticker, which moves no candle
    assert (latest.price, latest.event_time, latest.source) == (4.000002, 1_499_869_899_040, "ticker_24h")
    archived = system.sql("SELECT kind, open_24h, trades_24h, verdict FROM ticks FINAL WHERE symbol = 'BNBBTC'")
    assert [tuple(row) for row in archived] == [("quote", 99.0, 76, "accepted")]
    assert result.stderr == "stockstream: 5 trades left out: corrupt 2, key mismatch 1, late 1, no key 1\n"


def test_times_and_symbols_choose_among_them_and_change_none(system: System) -> None:
    topic, whole = system.topic("yfinance"), made(system, "5m")
    from_ms, to_ms = T0_MS + 2 * 3_600_000 + 17 * MINUTE_MS, T0_MS + 3 * 3_600_000
    for interval, symbols in (("5m", ["AAPL"]), ("5m", ["AAPL", "BINANCE:B"])):
        result = run(
            "--topic",
            topic,
            "--interval",
            interval,
            "--from",
            str(from_ms),
            "--to",
            str(to_ms),
            "--symbols",
            ",".join(symbols),
        )
        wanted = {key: value for key, value in whole.items() if key[0] in symbols and from_ms <= key[1] < to_ms}
        assert printed(result) == wanted
        assert len(wanted) >= 7
    assert printed(run("--topic", topic, "--from", "2023-11-16")) == {}


def test_the_log_is_read_from_the_day_on_and_not_before(system: System, kafka: KafkaCluster) -> None:
    """Records that the log took long before ``--from`` are skipped unread, however broken they are."""
    topic = f"old-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(topic, 2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
    day_ms = T0_MS - T0_MS % DAY_MS
    for at_ms, value in (
        (day_ms - DAY_MS, b"{broken"),
        (day_ms + 1, b'{"symbol":"A","price":1,"event_time":%d}' % (day_ms + 1)),
    ):
        producer.produce(topic, value, b"A", timestamp=at_ms)
    producer.flush(30)
    result = run("--topic", topic, "--from", str(day_ms))
    assert [(start_ms, candle[0]) for (_, start_ms), candle in printed(result).items()] == [(day_ms, 1)]
    assert result.stderr == ""
    assert "corrupt 1" in run("--topic", topic).stderr


def test_the_same_trades_in_a_file_give_the_same_text(system: System, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    with path.open("w") as file:
        rows = csv.writer(file)
        rows.writerow(("event_ms", "trade_id", "side", "price", "size", "symbol"))
        rows.writerows((t.event_time, t.trade_id, "buy", t.price, f"{t.last_size:.8f}", t.symbol) for t in trades())
    for interval in ("1m", "1d"):
        of_topic = run("--topic", system.topic("yfinance"), "--interval", interval, "--symbols", "BINANCE:A,BINANCE:B")
        assert of_topic.stdout == run(str(path), "--interval", interval).stdout
        assert of_topic.stdout.count("\n") > 2


def test_transactions_are_read_to_their_ends(kafka: KafkaCluster) -> None:
    """A partition whose last offset is a marker that no reader gets."""
    topic = f"transactions-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(topic, 2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for number in range(2):
        producer.begin_transaction()
        producer.produce(topic, b'{"symbol":"A","price":%d,"event_time":60000}' % (number + 1), b"A", 0)
        producer.commit_transaction(30)
    assert [candle[:4] for candle in printed(run("--topic", topic)).values()] == [(1, 2, 1, 2)]


def test_nothing_is_left_behind_and_an_empty_topic_is_no_candle(system: System, kafka: KafkaCluster) -> None:
    empty = f"empty-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(empty, 3)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def groups() -> set[str]:
        return {group.group_id for group in admin.list_consumer_groups().result(30).valid}

    before, topics = groups(), kafka.topics.names()
    assert printed(run("--topic", empty)) == {}
    assert printed(run("--topic", empty, "--from", "2024-01-01")) == {}
    run("--topic", system.topic("yfinance"))
    assert (groups() - before, kafka.topics.names() - topics) == (set(), set())


def test_what_is_missing_is_one_clear_line(
    system: System, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("--topic", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr
        == f"stockstream: there is no topic nowhere at {kafka.bootstrap}: check the name, its prefix included\n"
    )
    assert "nowhere" not in kafka.topics.names()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        result = run("--topic", system.topic("yfinance"))
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "does not answer" in result.stderr
        assert "SCHEMA_REGISTRY_URL" in result.stderr
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{taken.getsockname()[1]}")
        result = run("--topic", system.topic("yfinance"))
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "no Kafka broker answers" in result.stderr
