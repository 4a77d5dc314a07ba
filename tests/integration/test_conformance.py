"""Real trades through real servers: the candles of another program must come out exactly, crashes or not."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oracle import assert_candles, expected_candles
from places import Found, by_http, by_sql

from stockstream.models import Tick
from stockstream.sources.replay.trades_file import SAMPLE
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess

DATA = Path(__file__).parent.parent / "data" / "xrp_eth_2019"
SYMBOL = "BINANCE:XRPETH"
CLOSE_DELAY_MS = 5000
KILLS = 5
PACE_S = 32.0
AHEAD = 1500


@pytest.fixture(scope="module")
def trades() -> list[Tick]:
    with gzip.open(SAMPLE, "rt") as file:
        return [
            Tick(
                SYMBOL,
                int(row["event_ms"]),
                float(row["price"]),
                float(row["size"]),
                trade_id=int(row["trade_id"]),
                producer_timestamp=int(row["event_ms"]),
                source="binance",
            )
            for row in csv.DictReader(file)
        ]


@pytest.fixture
def systems(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[list[System]]:
    def system() -> System:
        return System(
            kafka.bootstrap, registry.url, clickhouse.url, partitions="2", instance_id="w0", standby_replicas="0"
        )

    with system() as one, system() as other:
        yield [one, other]


def reference(interval: str) -> dict[int, tuple[float, ...]]:
    with (DATA / f"candles_{interval}.csv").open() as file:
        return {
            int(row["start_ms"]): tuple(float(row[name]) for name in ("open", "high", "low", "close", "volume"))
            for row in csv.DictReader(file)
        }


def assert_reference(found: Found, where: str) -> None:
    for interval in ("1m", "5m"):
        wanted = reference(interval)
        ours = {key[3]: candle for key, candle in found.items() if key[1] == interval}
        assert ours.keys() == wanted.keys(), f"{where}, {interval}: other windows"
        for start, (*prices, volume) in wanted.items():
            candle = ours[start]
            assert [candle.open, candle.high, candle.low, candle.close] == prices, f"{where}, {interval}: {start}"
            assert candle.volume == pytest.approx(volume, abs=1e-6, rel=0), f"{where}, {interval}: {start}"


def assert_roll_up(found: Found, where: str) -> None:
    minutes = sorted((key[3], candle) for key, candle in found.items() if key[1] == "1m")
    days = {key[3]: candle for key, candle in found.items() if key[1] == "1d"}
    assert days.keys() == {start // 86_400_000 * 86_400_000 for start, _ in minutes}
    for day, candle in days.items():
        parts = [minute for start, minute in minutes if start // 86_400_000 * 86_400_000 == day]
        assert (candle.open, candle.close) == (parts[0].open, parts[-1].close), where
        assert candle.high == max(part.high for part in parts), where
        assert candle.low == min(part.low for part in parts), where
        assert candle.trades == sum(part.trades or 0 for part in parts), where
        assert candle.volume == pytest.approx(sum(part.volume or 0 for part in parts), abs=1e-6, rel=0), where


def assert_exact(system: System, trades: list[Tick]) -> None:
    """The candles in every place a user reads them from, the archive, and the latest price."""
    expected = expected_candles(enumerate(trades), closed_before_ms=trades[-1].event_time - CLOSE_DELAY_MS)
    places = {
        "the candles topic": system.candles_topic(),
        "ClickHouse": by_sql(system),
        "HTTP": by_http(system.workers["w0"], [SYMBOL]),
    }
    for where, found in places.items():
        assert_reference(found, where)
        assert_roll_up(found, where)
        assert_candles(expected, found, where)
    assert_archive(system, trades)
    last = trades[-1]
    (latest,) = system.latest_topic().values()
    assert (latest.symbol, latest.price, latest.event_time, latest.order) == (
        SYMBOL, last.price, last.event_time, last.trade_id,
    )  # fmt: skip
    status, answer = system.workers["w0"].get(f"/latest/{SYMBOL}")
    assert (status, answer["price"], answer["event_time_ms"]) == (200, last.price, last.event_time)


def assert_archive(system: System, trades: list[Tick]) -> None:
    rows = system.sql(
        "SELECT offset, symbol, event_time, trade_id, price, last_size, verdict FROM ticks FINAL ORDER BY offset"
    )
    assert rows == [
        (offset, SYMBOL, tick.event_time, tick.trade_id, tick.price, tick.last_size, "accepted")
        for offset, tick in enumerate(trades)
    ]


def test_candles_equal_the_reference_in_every_place(
    systems: list[System], trades: list[Tick], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerProcess, "fork_server", None)  # by a process of its own, as a user starts it
    system = systems[0]
    system.start()
    system.produce(trades)
    system.wait_drained()
    assert_exact(system, trades)


@pytest.mark.timeout(300)
def test_candles_equal_the_reference_after_five_kills(systems: list[System], trades: list[Tick]) -> None:
    with ThreadPoolExecutor(len(systems)) as pool:
        runs = [
            pool.submit(replay_through_kills, system, trades, seed, wipe)
            for seed, (system, wipe) in enumerate(zip(systems, (False, True), strict=True))
        ]
        for run in runs:
            run.result()
    for system in systems:
        system.wait_drained()
        assert_exact(system, trades)


def replay_through_kills(system: System, trades: list[Tick], seed: int, wipe: bool) -> None:
    """Replay at an even pace, the worker being killed and started again at random places of the log.

    A kill comes some ticks after a commit, so that there are ticks which the worker has applied and not committed, and
    others which it has not read.
    """
    rng = random.Random(seed)
    places = sorted(rng.sample(range(200, len(trades) * 3 // 4), KILLS))
    killed_at = [0]
    kill_at_end: int | None = None
    system.start()
    for committed, end in system.feed(trades, PACE_S, AHEAD):
        if len(killed_at) > KILLS:
            continue
        if kill_at_end is None and committed > killed_at[-1] and committed >= places[len(killed_at) - 1]:
            kill_at_end = end + rng.randrange(500)
        if kill_at_end is not None and end >= kill_at_end and committed < end:
            system.kill(wipe=wipe)
            killed_at.append(system.progress()[0])
            kill_at_end = None
            system.start(wait=False)
    assert len(killed_at) == 1 + KILLS
    assert killed_at == sorted(set(killed_at)), f"the worker did nothing between two kills: {killed_at}"
    assert killed_at[-1] < len(trades), "there was nothing left to read"
