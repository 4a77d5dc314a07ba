"""Workers that watch Binance's symbols: every trade once in the candles, through renewals, holes and other workers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from holes import assert_made_of, told, until_repaired, until_told
from market_topic import holes_in
from places import by_http, by_sql, by_tables

from stockstream.models import Tick
from stockstream.sources.binance.fake import FakeBinance, Limits, Tape
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until, wait_until_async

NAMES = [f"S{number}USDT" for number in range(20)]
SYMBOLS = [f"BINANCE:{name}" for name in NAMES]
TOPIC = "crypto-prices"
PATIENCE_S = 90


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as made:
        yield made


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def start(system: System, fake: FakeBinance, symbols: Sequence[str]) -> WorkerProcess:
    system.environment.update(
        STOCKSTREAM_TICK_TOPICS=TOPIC,
        SYMBOLS=",".join(symbols),
        STOCKSTREAM_BINANCE_URL=fake.url,
        STOCKSTREAM_BINANCE_REST_URL=fake.rest_url,
    )
    return await asyncio.to_thread(system.start, "w0")


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

        await start(system, fake, SYMBOLS)
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
        log = await asyncio.to_thread(system.tick_log, TOPIC)
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
    assert not holes_in(ticks)
    assert sum(tick.kind == "trade" for tick in ticks) > sum(map(len, ids.values())), "both connections were written"
    quoted = {tick.symbol for tick in ticks if tick.kind == "quote" and tick.trades_24h and tick.volume_24h}
    assert quoted == set(SYMBOLS)
    counted: dict[str, int] = defaultdict(int)
    for (symbol, interval, _, _), candle in candles.items():
        if interval == "1d":
            counted[symbol] += candle.trades or 0
    assert counted == {symbol: len(each) for symbol, each in ids.items()}


def trade_ids(trades: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    """Each symbol's ids of (Binance's name, id) pairs."""
    found: dict[str, set[int]] = defaultdict(set)
    for name, number in trades:
        found[f"BINANCE:{name}"].add(number)
    return found


def ticks_of(tape: Tape, first_ids: Mapping[str, int], last_ids: Mapping[str, int]) -> list[Tick]:
    """The tape's trades from one id to another."""
    return [
        Tick(symbol, trade.time_ms, float(trade.price), float(trade.quantity), trade_id=trade.trade_id)
        for symbol, first_id in first_ids.items()
        for trade in tape.trades[symbol.removeprefix("BINANCE:")]
        if first_id <= trade.trade_id <= last_ids[symbol]
    ]


@pytest.mark.timeout(300)
async def test_the_history_fills_holes_and_the_candles_are_those_of_the_tape(system: System) -> None:
    names, symbols = NAMES[:4], SYMBOLS[:4]
    tape = Tape(names, now_ms(), trades_per_s=40.0)
    async with FakeBinance(tape, now_ms) as fake:

        async def until_sent(more: int) -> None:
            """Until one connection has had so many more trades of each symbol."""
            [client] = fake.clients
            before = len(client.sent)
            await wait_until_async(
                lambda: all(len(trade_ids(client.sent[before:])[symbol]) >= more for symbol in symbols),
                PATIENCE_S,
                "trades on the connection",
            )

        async def until_traded(more: int) -> None:
            wanted = {name: len(trades) + more for name, trades in tape.trades.items()}
            await wait_until_async(
                lambda: all(len(tape.trades[name]) >= count for name, count in wanted.items()), PATIENCE_S, "trades"
            )

        async def until_subscribed() -> None:
            await wait_until_async(
                lambda: [len(client.streams) for client in fake.clients] == [len(names)], PATIENCE_S, "a subscription"
            )

        worker = await start(system, fake, symbols)
        await until_subscribed()
        await until_sent(20)
        fake.refuse(503)
        fake.abort()
        await until_traded(50)
        fake.refuse(None)
        await until_subscribed()
        await until_sent(10)
        [client] = fake.clients
        client.is_silent = True
        await until_traded(10)
        client.is_silent = False
        await until_sent(10)
        await until_told(worker, "aborted, refused with HTTP 503", len(symbols))
        await until_told(worker, "missing", 2 * len(symbols))
        await until_repaired(worker)
        assert {gap["symbol"] for gap in told(worker)} == set(symbols)

        fake.be_silent()
        await wait_until_async(client.outbox.empty, PATIENCE_S, "all to be sent")
        last_ids = {symbol: max(ids) for symbol, ids in trade_ids(client.sent).items()}

        def received() -> dict[str, set[int]]:
            log = system.tick_log(TOPIC)
            ticks = [tick for entries in log.values() for _, tick in entries if tick.kind == "trade"]
            return trade_ids((tick.symbol.removeprefix("BINANCE:"), tick.trade_id) for tick in ticks)

        await asyncio.to_thread(
            wait_until,
            lambda: {symbol: max(ids) for symbol, ids in received().items()} == last_ids,
            PATIENCE_S,
            "all to be received",
        )
        first_ids = {symbol: min(ids) for symbol, ids in (await asyncio.to_thread(received)).items()}
        await asyncio.to_thread(system.wait_drained, PATIENCE_S)
        places = {
            "HTTP": await asyncio.to_thread(by_http, worker, symbols),
            "tables": await asyncio.to_thread(by_tables, worker, symbols),
            "ClickHouse": await asyncio.to_thread(by_sql, system),
            "candles": await asyncio.to_thread(system.candles_topic),
        }
        changes = await asyncio.to_thread(system.candle_changes)

    sent = trade_ids(pair for each in [*fake.gone, client] for pair in each.sent)
    for symbol in symbols:
        assert first_ids[symbol] <= min(sent[symbol]), "the history tells what was traded shortly before, too"
        missed = set(range(first_ids[symbol], last_ids[symbol] + 1)) - sent[symbol]
        assert len(missed) >= 60, "what was never sent must have come from the history"
    assert {change.key for change in changes if change.gap and change.interval == "1d"} == {
        key for key in places["candles"] if key[1] == "1d"
    }, "while a hole is open its candles are flagged"
    for where, found in places.items():
        assert_made_of(ticks_of(tape, first_ids, last_ids), found, where)
