"""Symbols that the command subscribes, and a worker that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from venue import open_venue

from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until


@pytest.fixture
def venue() -> Iterator[str]:
    """The URL of a fake Yahoo that never closes."""
    with open_venue(symbols=20, trades_per_s=60) as opened:
        yield opened.url


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, venue: str) -> Iterator[System]:
    settings = {
        "sink_enabled": "false",
        "yahoo_url": venue,
        "partitions": "3",
        "report_interval_s": "1",
        "replication": "1",
    }
    with System(kafka.bootstrap, registry.url, "http://127.0.0.1:9", **settings) as system:
        yield system


def subscribe(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "stockstream", "subscribe", *arguments],
        env={**kept, **system.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def watched(worker: WorkerProcess) -> dict[str, str]:
    """Who subscribed each symbol, as a worker sees it."""
    status, answer = worker.get("/subscriptions")
    return {one["symbol"]: one["added_by"] for one in answer["subscriptions"]} if status == 200 else {}


def has_price(worker: WorkerProcess, symbol: str) -> bool:
    return worker.get(f"/latest/{symbol}")[0] == 200


def test_what_a_running_worker_watches_is_changed_without_asking_it(system: System) -> None:
    system.environment["SYMBOLS"] = "MSFT"
    worker = system.start()
    added = subscribe(system, "AAPL,BTC-USD", "MSFT")
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.splitlines() == [
        "AAPL: watched from now on, by yahoo",
        "BTC-USD: watched from now on, by yahoo",
        "MSFT: watched already",
    ]
    wait_until(lambda: has_price(worker, "AAPL") and has_price(worker, "BTC-USD"), 60, "ticks of what was subscribed")
    assert watched(worker) == {"AAPL": "cli", "BTC-USD": "cli", "MSFT": "settings"}

    listed = subscribe(system, "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["symbol", "AAPL", "BTC-USD", "MSFT"]
    assert [line.split()[-1] for line in listed[1:]] == ["cli", "cli", "settings"]
    assert all("yahoo" in line and " UTC " in line for line in listed[1:])

    removed = subscribe(system, "--remove", "AAPL", "NOBODY")
    assert (removed.returncode, removed.stdout) == (1, "AAPL: watched no longer\n")
    assert removed.stderr == "stockstream: NOBODY: not watched (stockstream subscribe --list shows what is)\n"
    wait_until(lambda: "AAPL" not in watched(worker), 30, "the subscription to go")

    worker.stop()
    log = worker.log.read_text()
    assert re.search(r"yahoo: [0-9,]+ of [0-9,]+ records written to .*, 1 of 1 connections streaming", log)
    table = log[log.rindex("yahoo: records of each symbol") :]
    assert {row[1] for row in re.finditer(r"│ (\S+) +│ +[1-9][0-9,]* │", table)} == {"AAPL", "BTC-USD", "MSFT"}
    counts = re.search(r"([0-9,]+) of ([0-9,]+) records written", table)
    assert counts is not None
    assert counts[1] == counts[2]


def test_before_any_worker_the_topic_is_made_as_a_worker_would(system: System) -> None:
    nothing = subscribe(system, "--list")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith(f"stockstream: there is no topic {system.topic('subscriptions')}, so nothing is")
    assert system.topic("subscriptions") not in system.topics.names()

    added = subscribe(system, "AAPL")
    assert added.returncode == 0
    assert added.stdout == "AAPL: watched from now on, by yahoo\n"
    assert added.stderr == (
        f"no worker has used topic {system.topic('subscriptions')} yet: this counts as soon as one starts\n"
    )
    worker = system.start()  # it refuses a topic of another kind
    wait_until(lambda: has_price(worker, "AAPL"), 60, "a tick of what was subscribed before")


def test_a_topic_of_other_partitions_is_told(system: System) -> None:
    system.topics.create(system.topic("subscriptions"), 5)
    refused = subscribe(system, "AAPL")
    assert refused.returncode == 1
    assert "has 5 partitions instead of 3: set STOCKSTREAM_PARTITIONS=5" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_an_absent_registry_is_told(system: System) -> None:
    system.environment["SCHEMA_REGISTRY_URL"] = "http://127.0.0.1:1"
    refused = subscribe(system, "AAPL")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the schema registry at 127.0.0.1:1 does not answer" in refused.stderr
    assert refused.stderr.count("\n") == 1
