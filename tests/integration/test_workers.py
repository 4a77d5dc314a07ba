"""Workers of one group under load, joining, leaving, dying and freezing: every candle right in every place."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from load import SYMBOLS, Load, expectation, last_trades, market
from oracle import Expected, Key, assert_candles
from places import by_changelog, by_http, by_sql, by_tables, rows_in_store

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import LEASE_LOST
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

TICKS = 38_000  # almost eleven minutes of event time, over midnight
LOAD_S = 38.0
PATIENCE_S = 90
SOME = SYMBOLS[::4]  # by HTTP it is a request a symbol and interval; of the others tables and SQL tell


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url, partitions="6") as made:
        yield made


class Client:
    """Asks every worker that is up for every symbol, again and again, and keeps what it should not have been told."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ends = threading.Event()
        self._up: set[str] = set()
        self.wrong: list[str] = []
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def add(self, name: str) -> None:
        self._up.add(name)

    def remove(self, name: str) -> None:
        """Call this before the worker is stopped."""
        self._up.remove(name)

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for symbol in SYMBOLS:
                for path in (f"/latest/{symbol}", f"/candles/{symbol}?limit=3", f"/tables/candles_1m/{symbol}"):
                    for name in sorted(self._up):
                        if self._ends.wait(0.02):
                            return
                        self._ask(name, path)

    def _ask(self, name: str, path: str) -> None:
        try:
            status, headers, answer = self._system.workers[name].ask(path, 20)
        except Exception as error:
            status, headers, answer = -1, {}, error
        kind = path.split("/")[1]
        moving = kind == "tables" and status == 503 and "Retry-After" in headers
        if status != 200 and not moving and name in self._up:
            self.wrong.append(f"{name} {path}: {status} {answer}")
        self.answers[name, kind, status] += 1


@contextmanager
def asking(system: System) -> Iterator[Client]:
    client = Client(system)
    try:
        yield client
    finally:
        client.stop()


@pytest.mark.timeout(400)
def test_candles_are_exact_while_workers_come_and_go(system: System) -> None:
    ticks = list(market(1, TICKS))
    w0 = system.start("w0")
    system.produce([replace(tick, symbol=symbol) for symbol, tick in zip(SYMBOLS, ticks, strict=False)])
    system.wait_drained()
    with asking(system) as client:
        client.add("w0")
        load = Load(system, ticks, TICKS, LOAD_S)
        load.wait(0.08)
        w1 = system.start("w1")  # joins late
        client.add("w1")
        load.wait(0.25)
        client.remove("w0")
        w0.stop()  # leaves
        assert w0.exit_code == 0
        load.wait(0.38)
        system.start("w0")
        client.add("w0")
        load.wait(0.53)
        client.remove("w1")
        system.kill("w1")
        system.start("w1")
        client.add("w1")
        load.wait(0.72)
        client.remove("w0")
        w0.pause()
        wait_until(lambda: system.members() == 1, PATIENCE_S, "the group to put the frozen worker out")
        w0.resume()
        back_in_group(system, "w0")
        client.add("w0")
        load.wait(1)
        system.produce(last_trades())
        system.wait_drained()
    assert client.wrong == []
    assert {(name, kind) for name, kind, status in client.answers if status == 200} == {
        (name, kind) for name in ("w0", "w1") for kind in ("latest", "candles", "tables")
    }
    expected = expectation(system)
    for name in ("w0", "w1"):
        assert_candles(expected, by_tables(system.workers[name], SYMBOLS), f"the tables by {name}")
        some = {key: each for key, each in expected.items() if key[0] in SOME}
        assert_candles(some, by_http(system.workers[name], SOME), f"HTTP by {name}")
    assert_candles(expected, system.candles_topic(), "the candles topic")
    assert_candles(expected, by_sql(system), "ClickHouse")
    for worker in (w0, w1):
        worker.stop()
        assert worker.exit_code == 0
    recovered_cold(system, expected)


def back_in_group(system: System, name: str) -> None:
    """A worker that was put out of its group has ended, and is started again, or it has joined anew."""
    worker = system.workers[name]
    wait_until(lambda: worker.exit_code is not None or system.members() == 2, PATIENCE_S, f"{name} to end or to join")
    if worker.exit_code is not None:
        assert worker.exit_code == LEASE_LOST, worker.log_tail()
        worker.start()
    worker.wait_ready()


def recovered_cold(system: System, expected: dict[Key, Expected]) -> None:
    """The changelogs hold every candle, whichever way they are read, and an empty folder is filled from them."""
    for in_log_order in (False, True):
        assert_candles(expected, by_changelog(system, in_log_order), f"the changelog, in log order: {in_log_order}")
    cold = system.start("cold")
    assert_candles(expected, by_tables(cold, SYMBOLS), "the tables recovered into an empty folder")
    cold.stop()
    for interval in INTERVALS_MS:
        logged = {at: row.encode() for at, row in system.changelog(interval, in_log_order=True).items()}
        assert rows_in_store(Path(cold.data), interval) == logged
