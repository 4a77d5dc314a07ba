"""Ticks from a server that behaves as Yahoo's does, over real sockets, into a real topic."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from market_topic import controls, ticks_in

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.codecs import Encoder, Registry
from stockstream.core.offline import OfflineEngine
from stockstream.models import TICK_SCHEMA_V2, Candle, Tick
from stockstream.sources.runner import ConnectionRunner, Timing
from stockstream.sources.yahoo.fake import FakeYahoo, Market, MarketClock, Sent, Trade, instruments
from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.testing.wait import wait_until_async

MONDAY_15_UTC_MS = 1_763_391_600_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
PARTITIONS = 4
QUICK = Timing(backoff_base_s=0.05, backoff_cap_s=0.4, watch_every_s=0.05)
Said = tuple[int, float, int]


class ImpatientFeed(YahooFeed):
    capabilities = replace(YahooFeed.capabilities, silence_s=1.0)


class PausableClock(MarketClock):
    """A market's time that can be stopped."""

    paused_ms: int | None = None

    def __call__(self) -> int:
        return super().__call__() if self.paused_ms is None else self.paused_ms

    def pause(self) -> None:
        self.paused_ms = super().__call__()

    def resume(self) -> None:
        assert self.paused_ms is not None
        self.start_ms -= super().__call__() - self.paused_ms
        self.paused_ms = None


class Ingest:
    """A fake venue, runners and a producer, with a topic of their own."""

    def __init__(self, kafka: Any, registry: Any, fake: FakeYahoo, clock: PausableClock, topic: str) -> None:
        self.kafka, self.registry, self.fake, self.clock, self.topic = kafka, registry, fake, clock, topic
        self.runners: list[ConnectionRunner] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.producer: TickProducer

    async def open(self) -> None:
        registry = Registry(self.registry.url)
        encoder = Encoder(TICK_SCHEMA_V2, await registry.ensure(f"{self.topic}-value", TICK_SCHEMA_V2))
        await registry.close()
        self.producer = TickProducer(Connection(self.kafka.bootstrap), self.topic, encoder, now_ms=self.clock)
        await self.producer.start()

    async def run(self, symbols: Sequence[str], feed: type[YahooFeed] = YahooFeed) -> ConnectionRunner:
        runner = ConnectionRunner(feed(self.fake.url), symbols, self.producer.send, now_ms=self.clock, timing=QUICK)
        self.runners.append(runner)
        self.tasks.append(asyncio.create_task(runner.run()))
        return runner

    async def stop(self) -> list[Tick]:
        """Stop in good order; all that lies in the topic, by partition and offset."""
        await asyncio.gather(*(runner.stop() for runner in self.runners))
        await asyncio.wait_for(asyncio.gather(*self.tasks), 30)
        assert await self.producer.close(30) == 0
        return [tick for ticks in (await self.partitions()).values() for tick in ticks]

    async def partitions(self) -> dict[int, list[Tick]]:
        found: dict[int, list[Tick]] = defaultdict(list)
        for partition, tick in await ticks_in(self.kafka, self.registry, self.topic):
            found[partition].append(tick)
        return found

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.producer.close(1)

    async def until_streaming(self, connections: int) -> None:
        """Wait until every runner's ``connections``-th connection, or a later one, is subscribed, and served."""

        def is_served() -> bool:
            wanted = sum(len(runner.status.symbols) for runner in self.runners)
            return sum(len(symbols) for symbols in self.fake.connections) == wanted and all(
                runner.status.state == "streaming" and runner.status.connections >= connections
                for runner in self.runners
            )

        await wait_until_async(is_served, 60, "all connections")

    async def until_frames(self, more: int) -> None:
        wanted = len(self.fake.tape.sent) + more
        await wait_until_async(lambda: len(self.fake.tape.sent) >= wanted, 30, "frames")

    async def until(self, market_ms: int) -> None:
        await wait_until_async(lambda: self.clock() >= market_ms, 60, f"the market's time to be {market_ms}")

    async def until_all_received(self) -> None:
        """Wait until everything that was sent has been parsed; the market must be paused."""
        self.fake.advance()
        sent = lambda: len(self.fake.tape.sent) + self.fake.tape.rubbish  # noqa: E731
        await wait_until_async(
            lambda: sum(runner.status.frames for runner in self.runners) == sent(), 30, "all frames to be received"
        )


@asynccontextmanager
async def ingest(
    kafka: Any, registry: Any, count: int, *, start_ms: int = MONDAY_15_UTC_MS, scale: float = 1.0, **options: Any
) -> AsyncIterator[Ingest]:
    listed = instruments(count, always_open=options.pop("always_open", False))
    clock = PausableClock(start_ms, scale)
    if options.pop("is_paused", False):
        clock.pause()
    market = Market(listed, start_ms, trades_per_s=options.pop("trades_per_s", 400.0))
    topic = f"ingest-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(kafka.topics.create, topic, PARTITIONS)
    async with FakeYahoo(market, clock, **options) as fake:
        scene = Ingest(kafka, registry, fake, clock, topic)
        await scene.open()
        try:
            yield scene
        finally:
            await scene.close()


def said(ticks: Sequence[Tick]) -> dict[str, list[Said]]:
    """(time, price, volume) of each symbol's prices, in the topic's order."""
    found: dict[str, list[Said]] = defaultdict(list)
    for tick in ticks:
        if tick.kind in ("snapshot", "quote"):
            volume = tick.day_volume if tick.day_volume >= 0 else int(tick.volume_24h or 0)
            found[tick.symbol].append((tick.event_time, tick.price, volume))
    return found


def told(sent: Sequence[Sent]) -> dict[str, list[Said]]:
    """The same of what was sent."""
    found: dict[str, list[Said]] = defaultdict(list)
    for each in sent:
        found[each.symbol].append((each.time_ms, each.price, each.volume))
    return found


async def test_300_symbols_over_three_connections_through_clean_closes(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 300, snapshot_every_ms=0) as scene:
        symbols = list(scene.fake.market.instruments)
        for first in range(0, 300, 100):
            await scene.run(symbols[first : first + 100])
        await scene.until_streaming(1)
        await scene.until_frames(500)
        await scene.fake.close(1001)
        await scene.until_streaming(2)
        await scene.until_frames(500)
        await scene.fake.close(1000)
        await scene.until_streaming(3)
        assert [len(connection) for connection in scene.fake.connections] == [100, 100, 100]
        await scene.until_frames(100)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        hole = [("start", None), ("gap", "closed 1001"), ("gap", "closed 1000")]
        assert controls(ticks) == {symbol: hole for symbol in symbols}
        assert scene.fake.accepted == 9
        assert scene.producer.counts.shed == 0


async def test_the_last_known_price_is_a_quote_and_what_follows_is_not(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 60, snapshot_every_ms=0) as scene:
        await scene.run(list(scene.fake.market.instruments))
        await scene.until_frames(300)
        ticks = await scene.stop()
        quotes = [tick for tick in ticks if tick.kind == "quote"]
        assert {tick.symbol for tick in quotes} == set(scene.fake.market.instruments)
        asked_ms = {tick.symbol: tick.producer_timestamp for tick in ticks if tick.kind == "start"}
        assert all(tick.event_time < asked_ms[tick.symbol] for tick in quotes)
        assert len([tick for tick in ticks if tick.kind == "snapshot"]) == len(scene.fake.tape.sent) - len(quotes)


async def test_an_abort_loses_at_most_what_was_on_the_way(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 60, snapshot_every_ms=0) as scene:
        await scene.run(list(scene.fake.market.instruments))
        await scene.until_streaming(1)
        await scene.until_frames(300)
        await scene.fake.abort()
        await scene.until_streaming(2)
        await scene.until_frames(300)
        ticks = await scene.stop()
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), ("gap", "aborted"))}
        first = told([sent for sent in scene.fake.tape.sent if sent.connection == 1])
        second = told([sent for sent in scene.fake.tape.sent if sent.connection == 2])
        for symbol, prices in said(ticks).items():
            kept = len(prices) - len(second[symbol])
            assert prices == first[symbol][:kept] + second[symbol]
        gaps = [tick for tick in ticks if tick.kind == "gap"]
        assert all(tick.until is not None and tick.event_time <= tick.until for tick in gaps)


async def test_silence_ends_a_connection_though_pings_are_answered(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 60) as scene:
        runner = await scene.run(list(scene.fake.market.instruments), ImpatientFeed)
        await scene.until_streaming(1)
        await scene.until_frames(50)
        scene.fake.be_silent()
        await scene.until_streaming(2)
        scene.fake.be_silent(False)
        await scene.until_frames(50)
        assert runner.status.reconnects >= 1
        ticks = await scene.stop()
        assert {cause for each in controls(ticks).values() for kind, cause in each if kind == "gap"} == {"silent"}
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_rubbish_is_counted_and_nothing_else_is_lost(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 60) as scene:
        runner = await scene.run(list(scene.fake.market.instruments))
        await scene.until_streaming(1)
        await scene.fake.send_rubbish()
        await scene.until_frames(50)
        await scene.fake.send_rubbish()
        await scene.until_frames(50)
        ticks = await scene.stop()
        assert runner.status.bad_frames == scene.fake.tape.rubbish > 5
        assert scene.fake.accepted == 1
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_a_venue_that_refuses_is_asked_again_until_it_does_not(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 60) as scene:
        runner = await scene.run(list(scene.fake.market.instruments))
        await scene.until_streaming(1)
        scene.fake.refuse(503)
        await scene.fake.close(1001)
        await wait_until_async(lambda: "503" in runner.status.detail, 30, "a refusal")
        await scene.fake.stop()
        await wait_until_async(lambda: runner.status.detail == "refused", 30, "a closed port")
        scene.fake.refuse(None)
        await scene.fake.start()
        await scene.until_streaming(2)
        await scene.until_frames(20)
        ticks = await scene.stop()
        causes = {cause for each in controls(ticks).values() for kind, cause in each if kind == "gap"}
        assert causes == {"closed 1001, refused with HTTP 503, refused"}
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_a_refusal_that_is_for_good_is_visible_and_not_repeated(kafka: Any, registry: Any) -> None:
    async with ingest(kafka, registry, 10) as scene:
        scene.fake.refuse(403)
        runner = await scene.run(list(scene.fake.market.instruments))
        await wait_until_async(lambda: runner.status.state == "failed", 30, "the failure to be seen")
        assert "HTTP 403" in runner.status.detail
        assert await scene.stop() == []


def minutes(trades: Sequence[Trade], symbol: str) -> dict[int, list[Trade]]:
    found: dict[int, list[Trade]] = defaultdict(list)
    for trade in trades:
        if trade.symbol == symbol:
            found[trade.time_ms // MINUTE_MS * MINUTE_MS].append(trade)
    return found


async def candles(scene: Ingest, interval: str) -> dict[tuple[str, int], Candle]:
    found = {}
    for ticks in (await scene.partitions()).values():
        engine = OfflineEngine()
        for first in range(0, len(ticks), 97):
            engine.add(ticks[first : first + 97])
        engine.finish()
        for candle, _ in engine.candles(interval):
            found[candle.symbol, candle.window_start] = candle
    return found


async def test_candles_and_volumes_equal_the_venues_tape_through_drops_and_duplicates(
    kafka: Any, registry: Any
) -> None:
    """Ten minutes around midnight, at sixty times their pace; some symbols are received over two connections."""
    midnight_ms = MONDAY_15_UTC_MS // DAY_MS * DAY_MS + DAY_MS
    start_ms = midnight_ms - 2 * MINUTE_MS
    pace = {"start_ms": start_ms, "scale": 60.0, "is_paused": True, "trades_per_s": 6.0}
    async with ingest(kafka, registry, 120, snapshot_every_ms=0, always_open=True, **pace) as scene:
        symbols = list(scene.fake.market.instruments)
        doubled = symbols[:30]
        await scene.run(symbols[:60])
        await scene.run(symbols[60:])
        await scene.run(doubled)
        await scene.until_streaming(1)
        ends = ((3, "close"), (6, "abort"), (10, "nothing"))
        for connection, (minute, fault) in enumerate(ends, start=1):
            scene.clock.resume()
            await scene.until(start_ms + minute * MINUTE_MS)
            scene.clock.pause()
            await scene.until_all_received()
            if fault == "close":
                await scene.fake.close(1001)
                await scene.until_streaming(connection + 1)
            elif fault == "abort":
                await scene.fake.abort()
                await scene.until_streaming(connection + 1)
        ticks = await scene.stop()
        assert {cause for each in controls(ticks).values() for kind, cause in each if kind == "gap"} == {
            "closed 1001",
            "aborted",
        }
        received = {sent.symbol: sent for sent in scene.fake.tape.sent if not sent.is_last_known}
        assert_minutes(scene, await candles(scene, "1m"), symbols)
        assert_days(scene, await candles(scene, "1d"), await candles(scene, "1m"), received, midnight_ms)


def assert_minutes(scene: Ingest, made: dict[tuple[str, int], Candle], symbols: Sequence[str]) -> None:
    """Every traded minute has its candle; where nothing is known to be missing it is the trades' own."""
    compared = 0
    for symbol in symbols:
        each = scene.fake.market.instruments[symbol]
        expected = minutes(scene.fake.tape.trades, symbol)
        assert {start for name, start in made if name == symbol} == set(expected)
        for start, trades in expected.items():
            candle = made[symbol, start]
            prices = [trade.price for trade in trades]
            assert (candle.open, candle.high, candle.low, candle.close) == (
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
            )
            has_volume = each.has_volume and not each.is_rolling
            assert (candle.volume is not None) is has_volume
            if has_volume and not candle.partial and not candle.gap:
                assert candle.volume == sum(trade.size for trade in trades), (symbol, candle)
                compared += 1
    assert compared > 150


def assert_days(
    scene: Ingest,
    days: dict[tuple[str, int], Candle],
    made: dict[tuple[str, int], Candle],
    received: dict[str, Sent],
    midnight_ms: int,
) -> None:
    """A day's volume is the venue's last cumulative, and the minutes add up to it: nothing is lost in a hole."""
    compared = 0
    for (symbol, day), candle in days.items():
        each = scene.fake.market.instruments[symbol]
        if day != midnight_ms or not each.has_volume or each.is_rolling:
            continue
        assert candle.volume == received[symbol].volume
        assert not candle.partial, "a reconnection is no new subscription"
        total = sum(made[name, start].volume or 0 for name, start in made if name == symbol and start >= midnight_ms)
        assert total == received[symbol].volume
        compared += 1
    assert compared > 40


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_the_command_writes_what_it_received_when_it_is_ended(
    kafka: Any, registry: Any, number: signal.Signals, code: int
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    market = Market(instruments(150, always_open=True), MONDAY_15_UTC_MS, trades_per_s=300.0)
    async with FakeYahoo(market, MarketClock(MONDAY_15_UTC_MS), snapshot_every_ms=0) as fake:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": registry.url,
            "STOCKSTREAM_TOPIC_PREFIX": prefix,
            "STOCKSTREAM_PARTITIONS": str(PARTITIONS),
            "STOCKSTREAM_REPLICATION": "1",
            "SYMBOLS": ",".join(market.instruments),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stockstream", "produce", "yahoo", "--url", fake.url, "--report-every", "1"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await wait_until_async(lambda: len(fake.tape.sent) > 1000, 60, "a thousand frames")
            process.send_signal(number)
            stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == code, stderr.decode()
        assert fake.connections == []
        scene = Ingest(kafka, registry, fake, PausableClock(MONDAY_15_UTC_MS), f"{prefix}yfinance")
        ticks = [tick for found in (await scene.partitions()).values() for tick in found]
        assert said(ticks) == told(fake.tape.sent)
        assert controls(ticks) == {symbol: [("start", None)] for symbol in market.instruments}
        text = stdout.decode()
        assert f"{len(ticks):,} of {len(ticks):,} records written to {prefix}yfinance" in text
        for symbol, prices in told(fake.tape.sent).items():
            row = re.search(rf"│ {re.escape(symbol)} +│ +([0-9,]+) │", text)
            assert row is not None, symbol
            assert int(row[1].replace(",", "")) == 1 + len(prices)  # and the record that it is subscribed
        assert "AAPL" in stderr.decode()
        assert "2 of 2 connections streaming" in stderr.decode()
