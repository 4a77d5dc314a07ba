"""Holes of every kind are in the ledger of gaps, and are repaired from the venue's history."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from holes import assert_made_of, told, until_repaired, until_told
from places import by_http, by_sql

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until_async

_NUMBERED = Path(__file__).parents[1] / "numbered"
sys.path.append(str(_NUMBERED))

from numbered_feed import TOPIC  # noqa: E402
from numbered_venue import Venue, venue  # noqa: E402

SYMBOLS = ("NUMBERED:A", "NUMBERED:B")


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(
        kafka.bootstrap, registry.url, clickhouse.url, tick_topics=TOPIC, partitions="2", close_delay_s="1"
    ) as made:
        yield made
        for each in made.workers.values():
            print(each.log.read_text())


async def until_trades(market: Venue, more: int) -> None:
    wanted = {symbol: len(trades) + more for symbol, trades in market.tape.items()}
    await wait_until_async(
        lambda: all(len(market.tape[symbol]) >= count for symbol, count in wanted.items()), 60, "trades"
    )


@pytest.mark.timeout(400)
async def test_what_is_missing_is_told_repaired_and_no_longer_flagged(system: System) -> None:
    async with venue(SYMBOLS) as market:
        system.environment |= {
            "NUMBERED_URL": market.url,
            "SYMBOLS": ",".join(SYMBOLS),
            "PYTHONPATH": os.pathsep.join([str(_NUMBERED), os.environ.get("PYTHONPATH", "")]),
        }
        market.tells_history = False
        worker = await asyncio.to_thread(system.start)
        await until_trades(market, 50)

        market.withheld = 30
        await until_told(worker, "missing", len(SYMBOLS))
        market.refuses = True
        await market.drop()
        await until_trades(market, 50)
        market.refuses = False
        await until_told(worker, "aborted", len(SYMBOLS))
        market.is_silent = True
        await until_told(worker, "silent", len(SYMBOLS))
        market.is_silent = False
        await wait_until_async(
            lambda: any("answers 503" in (gap["reason"] or "") for gap in told(worker, "?state=open")), 60, "a failure"
        )
        flagged = await asyncio.to_thread(by_http, worker, SYMBOLS, ["1d"])
        assert all(candle.gap for candle in flagged.values())
        assert told(worker, "?state=repaired") == []

        await asyncio.to_thread(system.kill)
        await until_trades(market, 50)
        worker = await asyncio.to_thread(system.start)
        await until_told(worker, "worker lost", len(SYMBOLS))
        market.tells_history = True
        await until_trades(market, 50)
        await until_repaired(worker)
        assert {gap["symbol"] for gap in told(worker)} == set(SYMBOLS)

        market.is_trading = False
        await asyncio.sleep(1)  # what was sent is received before the connection ends
        await asyncio.to_thread(system.wait_drained)
        assert_made_of(market.ticks(), await asyncio.to_thread(by_http, worker, SYMBOLS), "HTTP")
        assert_made_of(market.ticks(), await asyncio.to_thread(by_sql, system), "ClickHouse")
        assert_made_of(market.ticks(), await asyncio.to_thread(system.candles_topic), "candles")

        other = await asyncio.to_thread(system.start, "w1", sink_enabled="false")
        await wait_until_async(lambda: other.get("/gaps")[0] == 200, 60, "the other worker to have read the ledger")
        assert told(other) == told(worker), "any worker answers, with or without ClickHouse"
