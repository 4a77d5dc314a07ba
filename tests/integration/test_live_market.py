"""What workers make of a live feed is what the market's own tape says, whatever happens to connections and workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import pytest
from market import (
    DAY_MS,
    MINUTE_MS,
    PATIENCE_S,
    Scene,
    assert_told,
    assert_volumes_add_up,
    assert_whole_candles_are_the_markets,
    content,
    expected_of,
    has_cumulative,
    missing_frames,
    watched_market,
)
from market_topic import holes_in
from oracle import Key, assert_candles
from places import by_sql

from stockstream.models import Candle, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until_async


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as made:
        yield made


def last_midnight_ms() -> int:
    return int(time.time() * 1000) // DAY_MS * DAY_MS


def controls(ticks: Sequence[Tick]) -> dict[str, list[str]]:
    """Each symbol's control records in the topic's order: ``start``, or the first cause of a hole."""
    found: dict[str, list[str]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "start" or holes_in([tick]):
            found[tick.symbol].append((tick.cause or tick.kind).partition(",")[0])
    return found


async def candles_of(scene: Scene) -> tuple[list[Tick], dict[Key, Candle]]:
    """All ticks and candles, once both places where candles can be read hold what the ticks in the topic give."""
    scene.fake.refuse(503)
    await scene.fake.close(1001)
    await asyncio.to_thread(scene.system.wait_drained, PATIENCE_S)
    log = await asyncio.to_thread(scene.system.tick_log)
    expected = expected_of(log)
    assert_candles(expected, await asyncio.to_thread(scene.system.candles_topic), "candles")
    stored = await asyncio.to_thread(by_sql, scene.system)
    assert_candles(expected, stored, "ClickHouse")
    return [tick for entries in log.values() for _, tick in entries], stored


@pytest.mark.timeout(300)
async def test_candles_are_the_tapes_through_every_fault_of_the_feed_and_restarts(system: System) -> None:
    """Twenty minutes around midnight, a snapshot of each trade."""
    midnight_ms = last_midnight_ms()
    async with watched_market(system, midnight_ms - 9 * MINUTE_MS, snapshot_every_ms=0, trades_per_s=20.0) as scene:
        fake, leap = scene.fake, scene.now_ms.leap
        await scene.start()
        await scene.until_streaming(3)
        await scene.over_the_minute()

        await scene.over_the_minute()
        await fake.close(1001)
        await scene.until_streaming(6)
        await fake.send_rubbish()
        await scene.over_the_minute()
        await scene.over_the_minute()

        fake.refuse(503)
        await fake.abort()
        await scene.until_logged("aborted; trying again", 3)
        leap(scene.now_ms() + 2 * MINUTE_MS)
        fake.refuse(None)
        await scene.until_streaming(9)
        await scene.over_the_minute()

        fake.be_silent()
        await scene.until_streaming(12)
        await scene.over_the_minute()
        assert scene.now_ms() < midnight_ms, "the date must change while everything is watched"
        leap(midnight_ms - MINUTE_MS)
        await scene.until_caught_up()
        await scene.over_the_minute()
        after_ms = midnight_ms + 5 * MINUTE_MS + 10_000  # a hole begins before its fault: let five minutes stay whole
        leap(after_ms)
        await scene.until_caught_up()
        await scene.until_vouched(after_ms)

        fake.refuse(503)
        await fake.abort()
        await scene.until_logged("aborted; trying again", 6)
        leap(scene.now_ms() + MINUTE_MS)
        await scene.stop()
        leap(scene.now_ms() + MINUTE_MS)
        fake.refuse(None)
        await scene.start()
        await scene.until_streaming(15)
        await scene.until_logged("taken over with a hole", 3)
        await scene.over_the_minute()
        await scene.over_the_minute()

        await asyncio.to_thread(system.kill)
        leap(scene.now_ms() + MINUTE_MS)
        await scene.start()
        await scene.until_streaming(18)
        await scene.until_logged("taken over with a hole", 6)
        await scene.over_the_minute()
        ended_ms = scene.now_ms()
        ticks, candles = await candles_of(scene)

        assert fake.accepted == 18, "each fault costs each connection one new one"
        told = ["start", "closed 1001", "aborted", "silent", "start", "worker lost", "start", "worker lost"]
        assert controls(ticks) == {symbol: told for symbol in fake.market.instruments}
        assert f" {fake.tape.rubbish} bad frames" in system.workers["w0"].log.read_text()
        missing = missing_frames(fake.tape.sent, ticks)
        assert {frame.connection for frame in missing} <= {4, 5, 6, 10, 11, 12, 13, 14, 15}, (
            "those that were cut or killed"
        )
        assert_told(missing, ticks)
        added = assert_volumes_add_up(fake, ticks, candles)
        assert added[midnight_ms - DAY_MS, False] > 200, "whoever comes during a date has seen its end only"
        assert added[midnight_ms, True] > 200
        compared = assert_whole_candles_are_the_markets(fake, candles, ended_ms)
        assert compared["1m"] > 1000
        assert compared["5m"] > 200


@pytest.mark.timeout(300)
async def test_candles_are_the_tapes_while_workers_hand_over_and_die(system: System) -> None:
    """Snapshots at Yahoo's pace; the date changes while the symbols of a killed worker have nobody."""
    midnight_ms = last_midnight_ms()
    async with watched_market(system, midnight_ms - 4 * MINUTE_MS, snapshot_every_ms=1000, trades_per_s=60.0) as scene:
        fake, leap = scene.fake, scene.now_ms.leap
        await scene.start("w0")
        await scene.until_streaming(3)
        await scene.over_the_minute("w0")
        await scene.start("w1")
        await scene.until_streaming(4)
        await scene.over_the_minute("w1")

        leap(midnight_ms - 20_000)
        await scene.until_caught_up("w1")
        assert scene.now_ms() < midnight_ms, "the date must change while nobody has them"
        await asyncio.to_thread(system.kill, "w0")
        await wait_until_async(lambda: len(fake.connections) < 3, PATIENCE_S, "the sockets of the dead to be closed")
        kept = {symbol for symbols in fake.connections for symbol in symbols}
        lost = fake.market.instruments.keys() - kept
        leap(midnight_ms + 20_000)
        await scene.until_streaming(fake.accepted + len(lost) // 100)
        await scene.until_logged("taken over with a hole", len(lost) // 100, "w1")
        await scene.over_the_minute("w1")

        returned_ms = scene.now_ms()
        await scene.start("w0")
        await scene.over_the_minute("w1")
        await scene.stop("w1")
        await scene.until_streaming(fake.accepted)
        await scene.over_the_minute("w0")
        ticks, candles = await candles_of(scene)

    holes = [(tick.symbol, tick.event_time, tick.until or 0) for tick in holes_in(ticks)]
    assert kept
    assert {symbol for symbol, since, until in holes if since < midnight_ms <= until} == lost
    first: dict[str, Candle] = {}
    for (symbol, interval, _, start), candle in sorted(candles.items(), key=lambda item: item[0][3]):
        if interval == "1m" and start >= midnight_ms and has_cumulative(fake, symbol):
            first.setdefault(symbol, candle)
    early = {symbol: candle for symbol, candle in first.items() if candle.window_end <= returned_ms}
    assert {symbol for symbol, candle in early.items() if candle.partial} == lost & early.keys()
    missing = missing_frames(fake.tape.sent, ticks)
    assert_told(missing, ticks)
    twice = Counter((tick.symbol, *content(tick)) for tick in ticks if tick.kind == "snapshot")
    assert twice.most_common(1)[0][1] > 1, "whoever takes over hears what the one before still hears"
    added = assert_volumes_add_up(fake, ticks, candles)
    assert added[midnight_ms - DAY_MS, False] > 200
    assert added[midnight_ms, True] > 50
    assert added[midnight_ms, False] > 50
