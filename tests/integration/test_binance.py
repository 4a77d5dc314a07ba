"""Days of Binance in a minute: trades over real sockets into a real topic, through every fault of the venue."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from market_topic import ticks_in

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.codecs import Encoder, Registry
from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.sources.binance.fake import FakeBinance, Limits, Tape, Trade
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.history import BinanceHistory
from stockstream.sources.binance.ticker import BinanceTicker
from stockstream.sources.limits import attempts_of
from stockstream.sources.runner import ConnectionRunner, Timing
from stockstream.sources.yahoo.fake import MarketClock
from stockstream.testing.wait import wait_until_async

START_MS = 1_763_391_600_000
DAY_MS = 86_400_000
SCALE = 5000.0
LIMITS = replace(Limits().scaled(SCALE), ping_every_s=2.0, pong_within_s=10.0)
QUICK = Timing(backoff_base_s=0.05, backoff_cap_s=0.4, watch_every_s=0.05, quiet_s=2.0, renew_within_s=5.0)
UNDER_WAY_MS = int(1.5 * 1000 * SCALE)  # what is sent may take so long until it is read: a busy machine is slow
NAMES = [f"S{number}USDT" for number in range(45)]
CONNECTIONS = 3
PATIENCE_S = 60


class HastyFeed(BinanceFeed):
    """With the lifetime that the fake's connections have."""

    capabilities = replace(BinanceFeed.capabilities, lifetime_s=LIMITS.lifetime_s, silence_s=2.0)


class Scene:
    """A fake venue, runners and a producer, with a topic of their own."""

    def __init__(self, kafka: Any, registry: Any, fake: FakeBinance, clock: MarketClock) -> None:
        self.kafka, self.registry, self.fake, self.clock = kafka, registry, fake, clock
        self.topic = f"binance-{uuid.uuid4().hex[:8]}"
        self.runners: list[ConnectionRunner] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.producer: TickProducer

    async def open(self) -> None:
        await asyncio.to_thread(self.kafka.topics.create, self.topic, 4)
        registry = Registry(self.registry.url)
        encoder = Encoder(TICK_SCHEMA_V2, await registry.ensure(f"{self.topic}-value", TICK_SCHEMA_V2))
        await registry.close()
        self.producer = TickProducer(Connection(self.kafka.bootstrap), self.topic, encoder, now_ms=self.clock)
        await self.producer.start()
        self.ticker = BinanceTicker(self.fake.rest_url)
        attempts = attempts_of(HastyFeed.capabilities)
        symbols = [f"BINANCE:{name}" for name in NAMES]
        for first in range(CONNECTIONS):
            runner = ConnectionRunner(
                HastyFeed(self.fake.url),
                symbols[first::CONNECTIONS],
                self.producer.send,
                now_ms=self.clock,
                offer=self.producer.offer if first else None,
                timing=QUICK,
                attempts=attempts,
                poll=self.ticker,
            )
            self.runners.append(runner)
            self.tasks.append(asyncio.create_task(runner.run()))

    async def until_streaming(self, connections: int) -> None:
        """Until each runner has had so many connections, renewed ones apart, and trades come on all of them."""

        def is_served() -> bool:
            return all(
                runner.status.state == "streaming" and runner.status.connections >= connections
                for runner in self.runners
            )

        await wait_until_async(is_served, PATIENCE_S, f"{connections} connections of each")
        await self.until_traded(150)

    async def until_traded(self, more: int) -> None:
        wanted = {id(runner): runner.status.frames + more for runner in self.runners}
        await wait_until_async(
            lambda: all(runner.status.frames >= wanted[id(runner)] for runner in self.runners), PATIENCE_S, "trades"
        )

    async def until_renewed(self) -> None:
        """Until each runner has been renewed once more, and the old connections are gone."""
        wanted = {id(runner): runner.status.renewals + 1 for runner in self.runners}
        await wait_until_async(
            lambda: all(runner.status.renewals >= wanted[id(runner)] for runner in self.runners), PATIENCE_S, "renewals"
        )
        await self.until_traded(50)

    async def until_failed(self) -> None:
        """Until each runner has been seen to have failed, though it may try again."""
        seen: set[int] = set()

        def have_all() -> bool:
            seen.update(id(runner) for runner in self.runners if runner.status.state == "failed")
            return len(seen) == len(self.runners)

        await wait_until_async(have_all, PATIENCE_S, "all runners to fail")

    async def until_detail(self, words: str) -> None:
        await wait_until_async(
            lambda: all(words in runner.status.detail for runner in self.runners), PATIENCE_S, f"{words} to be seen"
        )

    async def stop(self) -> list[Tick]:
        """Stop in good order; all that lies in the topic, a partition after the other."""
        await asyncio.gather(*(runner.stop() for runner in self.runners))
        await asyncio.wait_for(asyncio.gather(*self.tasks), 30)
        assert await self.producer.close(30) == 0
        return [tick for _, tick in await ticks_in(self.kafka, self.registry, self.topic)]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.ticker.close()
        await self.producer.close(1)


@asynccontextmanager
async def binance(kafka: Any, registry: Any) -> AsyncIterator[Scene]:
    clock = MarketClock(START_MS, SCALE)
    tape = Tape(NAMES, START_MS, trades_per_s=120.0 / SCALE)
    async with FakeBinance(tape, clock, limits=LIMITS) as fake:
        scene = Scene(kafka, registry, fake, clock)
        await scene.open()
        try:
            yield scene
        finally:
            await scene.close()


def trades_of(ticks: Sequence[Tick]) -> dict[str, dict[int, Tick]]:
    """Each symbol's trades by id; those that came twice say the same."""
    found: dict[str, dict[int, Tick]] = defaultdict(dict)
    for tick in ticks:
        if tick.kind == "trade":
            before = found[tick.symbol].setdefault(tick.trade_id, tick)
            assert replace(before, producer_timestamp=0) == replace(tick, producer_timestamp=0)
    return found


def holes_of(ticks: Sequence[Tick]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "gap" and tick.until is not None:
            found[tick.symbol].append((tick.event_time, tick.until))
    return found


def is_told(trade: Trade, holes: Sequence[tuple[int, int]]) -> bool:
    return any(first - UNDER_WAY_MS <= trade.time_ms <= last for first, last in holes)


def assert_candles_count_each_trade_once(ticks: Sequence[Tick], trades: Mapping[str, Mapping[int, Tick]]) -> None:
    engine = OfflineEngine(Policy(accepted_lateness_ms=None, future_tolerance_ms=DAY_MS))
    for first in range(0, len(ticks), 97):
        engine.add(ticks[first : first + 97])
    engine.finish()
    counted: dict[str, int] = defaultdict(int)
    for candle, _ in engine.candles("1m"):
        counted[candle.symbol] += candle.trades or 0
    assert counted == {symbol: len(each) for symbol, each in trades.items()}


@pytest.mark.timeout(300)
async def test_days_of_renewals_drops_silences_bans_and_rubbish(kafka: Any, registry: Any) -> None:
    async with binance(kafka, registry) as scene:
        fake = scene.fake
        await scene.until_streaming(1)
        await scene.until_renewed()
        await fake.close(1001)
        await scene.until_streaming(2)
        fake.send_rubbish()
        await scene.until_traded(100)
        fake.abort()
        await scene.until_streaming(3)
        fake.announce_shutdown()
        await scene.until_renewed()
        fake.be_silent()
        await scene.until_streaming(4)
        fake.refuse(418, 1)
        await fake.close(1001)
        await scene.until_failed()
        await scene.until_detail("banned")
        fake.refuse(None)
        await scene.until_streaming(5)
        fake.refuse(429, 1)
        fake.abort()
        await scene.until_detail("HTTP 429")
        fake.refuse(None)
        await scene.until_streaming(6)
        await scene.until_renewed()
        await scene.until_renewed()
        ticks = await scene.stop()
        ended_ms = scene.clock()

        trades, holes = trades_of(ticks), holes_of(ticks)
        tape = {f"BINANCE:{name}": fake.tape.trades[name] for name in NAMES}
        for symbol, made in tape.items():
            by_id = {trade.trade_id: trade for trade in made}
            for number, tick in trades[symbol].items():
                trade = by_id[number]
                told = (trade.time_ms, float(trade.price), float(trade.quantity))
                assert (tick.event_time, tick.price, tick.last_size) == told
        kept = [client for client in fake.gone if client.is_acknowledged]
        assert len(kept) >= CONNECTIONS * 6, "closed by the venue, renewed, stopped"
        for client in kept:
            lost = [(name, number) for name, number in client.sent if number not in trades[f"BINANCE:{name}"]]
            assert not lost, (client.ended_by, lost[:5])

        causes: dict[str, list[str | None]] = defaultdict(list)
        for tick in ticks:
            if tick.kind in ("start", "gap"):
                causes[tick.symbol].append(tick.cause)
        expected = [
            None,
            "closed 1001",
            "aborted",
            "silent",
            "closed 1001, refused with HTTP 418",
            "aborted, refused with HTTP 429",
        ]
        assert causes == dict.fromkeys(tape, expected), "each fault leaves a hole, and no renewal does"
        missing = 0
        for symbol, made in tape.items():
            first, last = min(trades[symbol]), max(trades[symbol])
            untold = [
                trade
                for trade in made
                if first <= trade.trade_id <= last
                and trade.trade_id not in trades[symbol]
                and not is_told(trade, holes[symbol])
            ]
            assert not untold, (symbol, untold[:3], holes[symbol])
            missing += sum(first <= trade.trade_id <= last and trade.trade_id not in trades[symbol] for trade in made)
        assert missing > 100, "something must have been lost for anything to be shown"
        copies = sum(tick.kind == "trade" for tick in ticks) - sum(map(len, trades.values()))
        assert copies > 10, "two connections were open at renewals"
        assert_candles_count_each_trade_once(ticks, trades)

        assert sum(runner.status.bad_frames for runner in scene.runners) == fake.rubbish > 20
        assert all(runner.status.renewals >= 3 for runner in scene.runners)
        assert not [client.ended_by for client in fake.gone if client.ended_by in ("too many messages", "no pong")]
        assert {tick.symbol for tick in ticks if tick.kind == "quote" and tick.trades_24h} == set(tape)
        assert ended_ms - START_MS > 3 * DAY_MS

        history = BinanceHistory(fake.rest_url)
        for symbol in list(tape)[:8]:
            ids = set(trades[symbol])
            for since_ms, until_ms in holes[symbol]:
                async for page in history.trades(symbol, since_ms - UNDER_WAY_MS, until_ms):
                    ids |= {tick.trade_id for tick in page}
            assert set(range(min(trades[symbol]), max(trades[symbol]) + 1)) <= ids, "the history fills every hole"
        await history.close()
