"""What workers of earlier versions have left is taken over: their folders, their changelogs and all their records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby

import clickhouse_connect
import pytest
from places import by_changelog, by_sql, by_tables, rows_in_store
from released.data import (
    FOLDER,
    Release,
    away_file,
    later_file,
    read_candles,
    read_records,
    read_release,
    releases,
    unpack,
)
from released.system import ReleasedSystem, append, register, restore
from rocksdict import Options, Rdict

from stockstream.adapters import trading_of
from stockstream.core.interval import INTERVALS_MS
from stockstream.models import Candle
from stockstream.settings import Settings
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import CandleKey
from stockstream.testing.wait import wait_until

CLOSED_BIT = 1 << 55
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", params=releases())
def release(request: pytest.FixtureRequest) -> Release:
    return read_release(request.param)


@pytest.fixture(scope="module")
def schemas(release: Release) -> Iterator[RegistryServer]:
    """A registry of its own: records and rows name schemas by the ids that they were given."""
    with RegistryServer(registry_home()) as server:
        asyncio.run(register(release, server.url))
        yield server


@pytest.fixture
def system(release: Release, schemas: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[ReleasedSystem]:
    """The release's topics on a broker of their own, as they were when its worker had ended; ClickHouse is empty."""
    client = clickhouse_connect.get_client(dsn=clickhouse.url)
    client.command(f"DROP DATABASE IF EXISTS {release.app_id}")
    client.close()
    with KafkaCluster(kafka_libs()) as kafka:
        restore(release, kafka.bootstrap)
        with ReleasedSystem(release, kafka.bootstrap, schemas.url, clickhouse.url) as system:
            yield system


def test_there_are_data_of_a_release() -> None:
    assert releases(), f"{FOLDER} is empty: see docs/releasing.md"


@pytest.mark.parametrize("folder", ["kept", "lost"])
def test_a_release_is_taken_over_and_goes_on(release: Release, system: ReleasedSystem, folder: str) -> None:
    append(system.bootstrap, read_records(away_file(release)))
    if folder == "kept":
        unpack(release, system.root / "w0")
    worker = system.start()
    system.wait_drained()
    append(system.bootstrap, read_records(later_file(release)))
    system.wait_drained()
    expected = read_candles(release, "candles-later")
    assert_same(system.candles_topic(), expected, "the topic of candles")
    assert_same(by_changelog(system, in_log_order=False, trading=trading_of(Settings())), expected, "the changelogs")
    assert_same(by_sql(system), expected, "ClickHouse")
    both = {candle.symbol for candle in expected.values() if candle.session != "regular"}  # not told apart over HTTP
    regular = {key: candle for key, candle in expected.items() if candle.symbol not in both}
    found = by_tables(worker, sorted({candle.symbol for candle in regular.values()}))
    assert_same(found, regular, "the tables")
    told = worker.log.read_text()
    assert ("changes of rows in" in told) == (folder == "lost"), told
    worker.stop()
    assert worker.exit_code == 0
    for interval in INTERVALS_MS:
        logged = {at: row.encode() for at, row in system.changelog(interval).items()}
        assert rows_in_store(worker.data, interval) == logged


def test_rows_of_a_newer_version_end_the_worker_with_one_line(release: Release, system: ReleasedSystem) -> None:
    unpack(release, system.root / "w0")
    (store,) = (system.root / "w0").rglob("candles_1d-0.db")
    rows = Rdict(str(store), options=Options(raw_mode=True))
    key, row = next((key, value) for key, value in rows.items() if key.startswith(b"["))
    rows[key] = bytes([200]) + row[1:]
    rows.close()
    worker = system.start(wait=False)
    wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
    assert worker.exit_code == 1
    (line,) = (line for line in worker.log.read_text().splitlines() if "layout" in line)
    assert line.startswith("stockstream: table ")
    assert "candles_1d-changelog has rows of layout 200, and this version of stockstream reads layouts up to" in line


def assert_same(found: Mapping[CandleKey, Candle], expected: Mapping[CandleKey, Candle], where: str) -> None:
    """All are there and none besides; whether the last window of a series has closed depends on when one looks."""
    assert found.keys() == expected.keys(), where
    series = groupby(sorted(expected), key=lambda key: key[:3])
    last = {max(keys) for _, keys in series}
    for key, candle in expected.items():
        pair = (found[key], candle)
        if key in last:
            pair = (_forming(found[key]), _forming(candle))
        assert pair[0] == pair[1], f"{where}: {key}"


def _forming(candle: Candle) -> Candle:
    return replace(candle, version=candle.version & ~CLOSED_BIT, is_closed=False, state="forming")
