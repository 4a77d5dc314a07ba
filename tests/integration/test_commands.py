"""The commands that talk to servers, with real ones."""

from __future__ import annotations

import asyncio
import csv
import gzip
import re
import signal
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition
from market_topic import ticks_in

from stockstream.cli.main import main
from stockstream.models import Tick
from stockstream.sources.replay.trades_file import SAMPLE
from stockstream.testing.topics import ask_who_moves
from stockstream.testing.wait import wait_until

PARTITIONS = 3


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture(autouse=True)
def environment(
    kafka: Any, registry: Any, clickhouse: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("STOCKSTREAM_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("STOCKSTREAM_PARTITIONS", str(PARTITIONS))
    monkeypatch.setenv("STOCKSTREAM_REPLICATION", "1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def ticks(kafka: Any, registry: Any, topic: str) -> list[tuple[int, Tick]]:
    return asyncio.run(ticks_in(kafka, registry, topic))


def test_replay_writes_every_trade_as_a_tick_that_is_never_late(kafka: Any, registry: Any, prefix: str) -> None:
    result = run("replay", str(SAMPLE), "--symbol", "BINANCE:XRPETH", "--speed", "max")
    assert result.exit_code == 0, result.output
    topic = f"replay-{prefix}yfinance"
    assert f"12,477 of 12,477 ticks written to {topic}" in result.stdout
    written = ticks(kafka, registry, topic)
    with gzip.open(SAMPLE, "rt") as file:
        trades = list(csv.DictReader(file))
    assert [tick for _, tick in written] == [
        Tick(
            "BINANCE:XRPETH",
            int(trade["event_ms"]),
            float(trade["price"]),
            float(trade["size"]),
            trade_id=int(trade["trade_id"]),
            producer_timestamp=int(trade["event_ms"]),
            source="replay",
        )
        for trade in trades
    ]


def test_a_symbol_lies_where_every_other_producer_would_put_it(
    kafka: Any, registry: Any, prefix: str, tmp_path: Path
) -> None:
    symbols = ["AAPL", "VCB.VN", "BTC-USD", "^GSPC", "ES=F", "BINANCE:BTCUSDT", "A", "FINNHUB:BINANCE:BTCUSDT"]
    lines = "".join(f"{symbol},{1_700_000_000_000 + n},{n},1,1\n" for n, symbol in enumerate(symbols))
    (tmp_path / "trades.csv").write_text("symbol,event_ms,trade_id,price,size\n" + lines)
    assert run("replay", "trades.csv", "--topic", f"{prefix}ours", "--speed", "max").exit_code == 0
    kafka.topics.create(f"{prefix}theirs", partitions=PARTITIONS)
    kafka.topics.produce(f"{prefix}theirs", [(symbol.encode(), b"") for symbol in symbols])
    ours = {tick.symbol: partition for partition, tick in ticks(kafka, registry, f"{prefix}ours")}
    theirs = {record.key.decode(): record.partition for record in kafka.topics.read(f"{prefix}theirs")}
    assert ours == theirs
    assert len(set(ours.values())) > 1


def test_replay_can_pick_one_symbol(kafka: Any, registry: Any, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "trades.csv").write_text(
        "symbol,event_ms,trade_id,price,size\nA,1700000000001,1,1,1\nB,1700000000002,2,2,2\n"
    )
    assert run("replay", "trades.csv", "--topic", f"{prefix}one", "--symbol", "B").exit_code == 0
    assert [tick.symbol for _, tick in ticks(kafka, registry, f"{prefix}one")] == ["B"]


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd", "snappy"])
def test_what_is_written_compressed_is_read_all_the_same(
    kafka: Any, registry: Any, prefix: str, compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKSTREAM_PRODUCER_COMPRESSION", compression)
    lines = "".join(f"{1_700_000_000_000 + n},{n},1.5,1\n" for n in range(3000))
    (tmp_path / "trades.csv").write_text("event_ms,trade_id,price,size\n" + lines)
    result = run("replay", "trades.csv", "--speed", "max")
    assert "3,000 of 3,000 ticks" in result.stdout, result.output
    written = ticks(kafka, registry, f"replay-{prefix}yfinance")
    assert [tick.trade_id for _, tick in written] == list(range(3000))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_replay_that_is_stopped_writes_what_it_has_and_says_how_much(
    kafka: Any, registry: Any, prefix: str, number: signal.Signals, code: int
) -> None:
    topic = f"replay-{prefix}yfinance"
    kafka.topics.create(topic, PARTITIONS)  # one whose partitions are led: else its ends cannot be asked for yet
    arguments = [sys.executable, "-m", "stockstream", "replay", str(SAMPLE), "--speed", "100"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: sum(kafka.topics.end_offsets(topic).values()) > 0, 30, "the first trade")
            process.send_signal(number)
            told, _ = process.communicate(timeout=30)
        finally:
            process.kill()  # it would go on for half an hour
    assert process.returncode == code
    counts = re.match(r"([0-9,]+) of ([0-9,]+) ticks", told)
    assert counts is not None, told
    assert counts[1] == counts[2]
    assert int(counts[1].replace(",", "")) == sum(kafka.topics.end_offsets(topic).values()) < 12_477
    assert "interrupted" in told


def test_doctor_finds_nothing_wrong() -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("  ok  ") == 9
    assert "created at start" in result.stdout
    assert re.search(r"clock of Kafka +ok +\d\.\d\d s from this clock", result.stdout)
    assert re.search(r"clock of ClickHouse +ok +\d\.\d\d s from this clock", result.stdout)


def test_doctor_tells_of_topics_that_let_go_too_soon_and_writes_nothing(kafka: Any, prefix: str) -> None:
    topic = f"{prefix}yfinance"
    kafka.topics.create(topic, partitions=PARTITIONS, config={"retention.ms": str(6 * 3_600_000)})
    before = kafka.topics.names()
    result = run("doctor")
    assert result.exit_code == 1
    assert re.search(rf"retention +WRONG +{topic} deletes ticks after 6 hours, read or not", result.stdout)
    assert kafka.topics.names() == before
    assert sum(kafka.topics.end_offsets(topic).values()) == 0


def test_doctor_tells_of_ticks_that_are_about_to_be_deleted_unread(
    kafka: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKSTREAM_APP_ID", prefix)
    topic = f"{prefix}yfinance"
    kafka.topics.create(topic, partitions=PARTITIONS)
    kafka.topics.produce(topic, [(b"A", b"old"), (b"A", b"new")], partition=1)
    with closing(Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": prefix})) as consumer:
        places = [TopicPartition(topic, 1, 1)]
        ask_who_moves(lambda: consumer.commit(offsets=places, asynchronous=False))
    found = run("doctor").stdout
    assert re.search(rf"unread ticks +ok +1 of {prefix}, {prefix}-sink has read nothing yet", found)
    kafka.topics.configure(topic, "retention.ms", "1")
    assert f"{prefix} has left unread for 0.0005 s and more what {topic} deletes after 0.001 s" in run("doctor").stdout


def test_doctor_tells_of_changelogs_with_other_partitions(
    kafka: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKSTREAM_APP_ID", prefix)
    kafka.topics.create(f"{prefix}-candles_1m-changelog", partitions=PARTITIONS + 2)
    found = run("doctor").stdout
    assert re.search(rf"partitions +WRONG +candles were made with {PARTITIONS + 2} partitions, not {PARTITIONS}", found)
    assert re.search(r"retention +ok +no tick topic yet", found)


def test_doctor_names_topics_with_another_number_of_partitions(kafka: Any, prefix: str) -> None:
    kafka.topics.create(f"{prefix}yfinance", partitions=PARTITIONS + 1)
    result = run("doctor")
    assert result.exit_code == 1
    assert f"{prefix}yfinance has {PARTITIONS + 1}" in result.stdout


def test_doctor_tells_what_clickhouse_answers(clickhouse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse.url.replace("http://", "http://me:secret@"))
    assert "secret" not in run("doctor").output


def test_schemas_are_checked_then_registered(prefix: str) -> None:
    before = run("schema")
    assert before.exit_code == 0
    assert before.stdout.count("missing: can be registered") == 7
    registered = run("schema", "register")
    assert registered.exit_code == 0
    assert registered.stdout.count("registered with id") == 7
    assert run("schema", "check").stdout.count(": registered\n") == 7


def test_a_refused_schema_fails_the_check(registry: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKSTREAM_TICK_SCHEMA", "1")
    assert run("schema", "register").exit_code == 0
    monkeypatch.setenv("STOCKSTREAM_TICK_SCHEMA", "2")
    subject = f"{prefix}yfinance-value"
    httpx.put(f"{registry.url}/config/{subject}", json={"compatibility": "FULL"}).raise_for_status()
    result = run("schema")
    assert result.exit_code == 1
    assert f"{subject}: refused" in result.stdout
    assert "tick_schema=1" in result.stdout
    assert result.stderr == "stockstream: 1 of the schemas above is refused\n"
    assert run("schema", "register").exit_code == 1
