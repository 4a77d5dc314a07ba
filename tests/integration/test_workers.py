"""Workers of one group under load, joining, leaving, dying and freezing: every candle right in every place."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from oracle import Expected, Key, assert_candles, expected_candles
from places import by_changelog, by_http, by_sql, by_tables, rows_in_store

from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.errors import LEASE_LOST
from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

SYMBOLS = [f"BINANCE:COIN{number}" for number in range(60)]
WITHOUT_IDS = set(SYMBOLS[:5])
TICKS = 38_000
LOAD_S = 38.0
STEP_MS = 17  # of event time from tick to tick: almost eleven minutes, over midnight
BEGIN_MS = int(datetime(2024, 3, 5, 23, 54, 30, tzinfo=UTC).timestamp() * 1000)
FLUSH_MS = int(datetime(2024, 3, 7, 0, 10, tzinfo=UTC).timestamp() * 1000)
CLOSE_DELAY_MS = 5000
PATIENCE_S = 90


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as made:
        yield made


def market(seed: int, count: int) -> list[Tick]:
    """Trades of all symbols, up to four seconds out of order, one in fifty delivered twice."""
    rng = random.Random(seed)
    price = {symbol: rng.uniform(0.01, 900) for symbol in SYMBOLS}
    ids: Counter[str] = Counter()
    ticks: list[Tick] = []
    for n in range(count):
        symbol = rng.choice(SYMBOLS)
        received = BEGIN_MS + n * STEP_MS
        if n > 100 and rng.random() < 0.02:
            again = ticks[-rng.randrange(1, 100)]
            if again.symbol not in WITHOUT_IDS:
                ticks.append(replace(again, producer_timestamp=received))
                continue
        price[symbol] *= 1 + rng.gauss(0, 0.001)
        ids[symbol] += rng.choice((1, 1, 1, 7))
        ticks.append(
            Tick(
                symbol,
                received - rng.randrange(4000),
                round(price[symbol], 6),
                round(rng.expovariate(0.1), 8),
                trade_id=-1 if symbol in WITHOUT_IDS else ids[symbol],
                producer_timestamp=received,
                exchange="binance",
                source="binance",
            )
        )
    return ticks


def last_trades() -> list[Tick]:
    """One trade of every symbol a day later, which ends every window before it."""
    return [
        Tick(symbol, FLUSH_MS, 1.0, 1.0, trade_id=1, producer_timestamp=FLUSH_MS, exchange="binance", source="binance")
        for symbol in SYMBOLS
    ]


class Load:
    """Ticks written at an even pace by a thread."""

    def __init__(self, system: System, ticks: Sequence[Tick]) -> None:
        self._system, self._ticks = system, ticks
        self._error: BaseException | None = None
        self._sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for _, end in self._system.feed(self._ticks, LOAD_S):
                self._sent = end
        except BaseException as error:
            self._error = error

    def wait(self, share: float) -> None:
        """Until this share of the ticks is in the log."""
        wait_until(
            lambda: self._error or self._sent >= share * len(self._ticks), 4 * LOAD_S, f"{share:.0%} of the load"
        )
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


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


def expectation(system: System) -> dict[Key, Expected]:
    """What the log of the tick topic must come to, by the reference, to which the engine offline agrees."""
    expected: dict[Key, Expected] = {}
    for log in system.tick_log().values():
        of_partition = expected_candles(log, closed_before_ms=FLUSH_MS - CLOSE_DELAY_MS)
        expected |= of_partition
        engine, rest = OfflineEngine(), list(log)
        rng = random.Random(len(log))
        while rest:
            size = rng.randrange(1, 500)
            engine.add([tick for _, tick in rest[:size]], first_offset=rest[0][0])
            del rest[:size]
        engine.finish()
        made = {candle.key: candle for interval in INTERVALS_MS for candle, _ in engine.candles(interval)}
        assert_candles(of_partition, made, "the engine offline")
    return expected


@pytest.mark.timeout(400)
def test_candles_are_exact_while_workers_come_and_go(system: System) -> None:
    ticks = market(1, TICKS)
    w0 = system.start("w0")
    system.produce([replace(tick, symbol=symbol) for symbol, tick in zip(SYMBOLS, ticks, strict=False)])
    system.wait_drained()
    with asking(system) as client:
        client.add("w0")
        load = Load(system, ticks)
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
        load.join()
        system.produce(last_trades())
        system.wait_drained()
    assert client.wrong == []
    assert {(name, kind) for name, kind, status in client.answers if status == 200} == {
        (name, kind) for name in ("w0", "w1") for kind in ("latest", "candles", "tables")
    }
    expected = expectation(system)
    for name in ("w0", "w1"):
        assert_candles(expected, by_tables(system.workers[name], SYMBOLS), f"the tables by {name}")
        assert_candles(expected, by_http(system.workers[name], SYMBOLS), f"HTTP by {name}")
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
