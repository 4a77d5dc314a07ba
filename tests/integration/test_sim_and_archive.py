"""The simulated market as a worker's source, and what its archive gives when it is replayed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import pytest

from stockstream.models import Tick
from stockstream.sources.sim.feed import SimHistory
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

URL = "sim:?seed=7&ticks_per_s=5&duplicates=0.1&disorder_ms=800&late=0.02&late_s=5"
SYMBOLS = ("SIM:AAPL", "SIM:BTC", "SIM:VCB")
THREE_LINES = f"""
tick_topics = ["sim"]
symbols = {list(SYMBOLS)}
sim_url = "{URL}"
"""
ENOUGH = 400
CANDLES = (
    "symbol, `interval`, session, toUnixTimestamp64Milli(window_start), open, high, low, close, volume, vwap, trades,"
    " partial, gap, corrected"
)


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as made:
        del made.environment["STOCKSTREAM_TICK_TOPICS"]
        config = made.root / "stockstream.toml"
        config.write_text(THREE_LINES)
        made.environment["STOCKSTREAM_CONFIG"] = str(config)
        yield made


def tape(first_ms: int, last_ms: int) -> dict[tuple[str, int], tuple[int, float, float]]:
    """What happened, by symbol and id."""

    async def told() -> list[Tick]:
        history = SimHistory(URL)
        return [tick for symbol in SYMBOLS async for page in history.trades(symbol, first_ms, last_ms) for tick in page]

    return {(tick.symbol, tick.trade_id): (tick.event_time, tick.price, tick.last_size) for tick in asyncio.run(told())}


TRADES = "uniqExact(symbol, trade_id) FROM {database}.ticks WHERE kind = 'trade'"  # those of repaired holes come twice


@pytest.mark.timeout(400)
def test_three_lines_start_a_market_and_its_archive_replays_to_the_same_candles(system: System) -> None:
    client = clickhouse_connect.get_client(dsn=system.clickhouse_url)

    def rows(what: str, database: str = system.id) -> list[tuple[Any, ...]]:
        return list(map(tuple, client.query(f"SELECT {what.format(database=database)}").result_rows))

    worker = system.start()
    wait_until(lambda: client.command(f"EXISTS TABLE {system.id}.ticks"), 60, "the archive")
    wait_until(lambda: rows(TRADES)[0][0] >= ENOUGH, 120, "ticks in the archive")
    worker.stop()
    system.environment |= {"STOCKSTREAM_INGEST_ENABLED": "false", "STOCKSTREAM_TICK_TOPICS": "sim"}
    system.start("w1")
    system.wait_drained(120)
    system.workers["w1"].stop()

    archived = rows(
        "symbol, trade_id, event_time, price, last_size FROM {database}.ticks FINAL WHERE kind = 'trade'"
        " ORDER BY symbol, trade_id"
    )
    happened = tape(min(row[2] for row in archived), max(row[2] for row in archived))
    assert {(row[0], row[1]): row[2:] for row in archived}.items() <= happened.items()
    assert len(archived) > len(set(archived)) > ENOUGH * 0.8  # some came twice
    live = rows(CANDLES + " FROM {database}.candles ORDER BY ALL")
    assert {row[0] for row in live} == set(SYMBOLS)

    now_ms = int(time.time() * 1000)
    span = ["--from", str(now_ms - 3_600_000), "--to", str(now_ms + 60_000)]
    done = subprocess.run(
        [sys.executable, "-m", "stockstream", "replay", "--speed", "max", *span],
        env={**os.environ, **system.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (count,) = rows("count() FROM {database}.ticks FINAL")[0]
    topic = f"replay-{system.prefix}sim"
    assert f"{count:,} of {count:,} ticks written to {topic}" in done.stdout
    command = done.stderr.splitlines()[-1]
    given = dict(pair.split("=", 1) for pair in command.removesuffix(" faust -A stockstream worker").split())
    del given["STOCKSTREAM_WEB_PORT"]
    database = given["STOCKSTREAM_CLICKHOUSE_DATABASE"]
    replays = WorkerProcess(system.root, "replays", {**system.environment, **given})
    try:
        replays.start()
        replays.wait_ready()
        wait_until(
            lambda: rows(CANDLES + " FROM {database}.candles ORDER BY ALL", database) == live,
            120,
            "the candles of the replay to be those of before",
        )
        wait_until(lambda: rows("count() FROM {database}.ticks FINAL", database) == [(count,)], 60, "its own archive")
    finally:
        replays.kill()
    assert rows("count() FROM {database}.ticks FINAL") == [(count,)]  # nothing of it came to the live ones
    kept = "symbol, event_time, kind, trade_id, producer_timestamp, source, verdict FROM {database}.ticks FINAL"
    assert sorted(rows(kept, database)) == sorted(rows(kept))
