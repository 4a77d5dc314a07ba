"""Workers that watch Binance's symbols: every trade once in the candles, through a renewal and a change of workers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

from stockstream.sources.binance.fake import FakeBinance, Limits, Tape
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until_async

NAMES = [f"S{number}USDT" for number in range(20)]
SYMBOLS = [f"BINANCE:{name}" for name in NAMES]
PATIENCE_S = 90


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as made:
        yield made


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.timeout(300)
async def test_every_trade_is_counted_once_through_a_renewal_and_a_change_of_workers(system: System) -> None:
    tape = Tape(NAMES, now_ms(), trades_per_s=60.0)
    async with FakeBinance(tape, now_ms, limits=Limits()) as fake:

        async def until_served(connections: int) -> None:
            """Until so many connections have been open in all, and one is, with all symbols and trades on it."""

            def is_served() -> bool:
                open_ones = fake.clients
                return (
                    len(fake.gone) + len(open_ones) >= connections
                    and [len(client.streams) for client in open_ones] == [len(NAMES)]
                    and len(open_ones[0].sent) > 300
                )

            await wait_until_async(is_served, PATIENCE_S, f"{connections} connections in all, one of them open")

        system.environment.update(
            STOCKSTREAM_TICK_TOPICS="crypto-prices",
            SYMBOLS=",".join(SYMBOLS),
            STOCKSTREAM_BINANCE_URL=fake.url,
            STOCKSTREAM_BINANCE_REST_URL=fake.rest_url,
        )
        await asyncio.to_thread(system.start, "w0")
        await until_served(1)
        fake.announce_shutdown()
        await until_served(2)
        await asyncio.to_thread(system.start, "w1")
        await asyncio.to_thread(system.workers["w0"].stop)
        assert system.workers["w0"].exit_code == 0, system.workers["w0"].log_tail()
        await until_served(len(fake.gone) + 1)
        status, answer = await asyncio.to_thread(system.workers["w1"].get, "/latest")
        assert status == 200
        assert {one["symbol"] for one in answer["latest"]} == set(SYMBOLS)
        fake.be_silent()
        await asyncio.to_thread(system.wait_drained, PATIENCE_S)
        log = await asyncio.to_thread(system.tick_log, "crypto-prices")
        candles = await asyncio.to_thread(system.candles_topic)
        assert not [client.ended_by for client in fake.gone if client.ended_by == "too many messages"]
        assert set(fake.doorkeeper.statuses) == {200}

    ticks = [tick for entries in log.values() for _, tick in entries]
    ids: dict[str, set[int]] = defaultdict(set)
    for tick in ticks:
        if tick.kind == "trade":
            ids[tick.symbol].add(tick.trade_id)
    assert {symbol: max(each) - min(each) + 1 for symbol, each in ids.items()} == {
        symbol: len(each) for symbol, each in ids.items()
    }, "no trade is missing"
    assert not [tick for tick in ticks if tick.kind == "gap"]
    assert sum(tick.kind == "trade" for tick in ticks) > sum(map(len, ids.values())), "both connections were written"
    quoted = {tick.symbol for tick in ticks if tick.kind == "quote" and tick.trades_24h and tick.volume_24h}
    assert quoted == set(SYMBOLS)
    counted: dict[str, int] = defaultdict(int)
    for (symbol, interval, _, _), candle in candles.items():
        if interval == "1d":
            counted[symbol] += candle.trades or 0
    assert counted == {symbol: len(each) for symbol, each in ids.items()}
