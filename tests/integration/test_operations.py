"""What docs/operations.md tells is so: how partitions grow, and which metrics there are to be alerted by."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

SYMBOLS = ["BINANCE:BTCUSDT", "BINANCE:SOLUSDT", "BINANCE:XRPUSDT"]
T0_MS = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)
CLOSED_BIT = 1 << 55


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url, partitions="1", replication="1") as made:
        yield made


def trades(first: int, last: int) -> list[Tick]:
    """One of each symbol every ten seconds, with ids."""
    return [
        Tick(
            symbol, T0_MS + n * 10_000, 100.0 + n % 7, 0.5, trade_id=n, producer_timestamp=T0_MS + n * 10_000 + 30,
            exchange="binance", source="binance",
        )
        for n in range(first, last)
        for symbol in SYMBOLS
    ]  # fmt: skip


def test_partitions_grow_by_a_replay_of_the_archive(system: System) -> None:
    worker = system.start()
    system.produce(trades(0, 60))
    system.wait_drained()
    worker.stop()
    before = system.sql_candles("1m") | system.sql_candles("1d")

    grown = f"{system.prefix}4-"
    replayed = subprocess.run(
        [
            *(sys.executable, "-m", "stockstream", "replay", "--from", "2026-11-24", "--to", "2026-11-25"),
            *("--from-topics", system.topic("yfinance"), "--speed", "max"),
            *("--topic", f"{grown}yfinance", "--app-id", f"{system.id}-4"),
        ],
        env={**os.environ, **system.environment, "STOCKSTREAM_PARTITIONS": "4"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert replayed.returncode == 0, replayed.stderr
    assert f"180 of 180 ticks written to {grown}yfinance" in replayed.stdout
    assert len(system.topics.end_offsets(f"{grown}yfinance")) == 4

    system.id, system.prefix, database = f"{system.id}-4", grown, system.id
    names = {"app_id": system.id, "topic_prefix": grown, "partitions": "4", "epoch": "1"}
    system.environment |= {f"STOCKSTREAM_{name.upper()}": value for name, value in names.items()}
    system.start("grown")
    system.produce(trades(59, 120))  # the last one was replayed as well
    system.wait_drained()
    system.id = database
    after = system.sql_candles("1m") | system.sql_candles("1d")
    assert after.keys() > before.keys()
    whole = [key for key in before if key[1] == "1m" and key[3] < T0_MS + 9 * 60_000]
    assert [after[key][:7] for key in whole] == [(*before[key][:6], True) for key in whole]
    assert all(after[key][7] > before[key][7] for key in before)
    (day,) = (row for key, row in after.items() if key[:2] == (SYMBOLS[0], "1d"))
    assert (day[4], day[5]) == (60.0, 120)


def test_alerts_are_about_metrics_that_there_are(system: System) -> None:
    worker = system.start()
    system.produce(trades(0, 1))
    system.wait_drained()
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=10) as answer:
        families = dict(re.findall(r"^# TYPE (\w+) (\w+)", answer.read().decode(), re.MULTILINE))
    told = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bstockstream_[a-z_]+", told))
    assert len(named) > 5
    assert named <= families.keys()
    labels = set(re.findall(r'(stockstream_\w+)\{(\w+)="([\w-]+)"\}', told))
    samples = worker.metrics()
    counted = {each for each in labels if families[each[0]] == "counter"}
    assert all(value in samples[name] for name, _, value in counted), counted
