"""`stockstream compare`: candles of the engine in ClickHouse beside the klines of the venue that the ticks are of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sources.binance.fake import FakeBinance, Tape, trade_frame
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.web.times import rfc3339

MINUTE_MS, DAY_MS = 60_000, 86_400_000
START_MS = 1_763_337_600_000
END_MS = START_MS + 2 * DAY_MS
SYMBOL = "BINANCE:BTCUSDT"
SPAN = ("--from", "2025-11-17", "--to", "2025-11-19")


def candles_of(tape: Tape) -> dict[str, list[Candle]]:
    """What the engine makes of the tape's frames, by interval."""
    feed, engine = BinanceFeed(), OfflineEngine()
    for trades in tape.trades.values():
        for trade in trades:
            engine.add(feed.parse(trade_frame(trade, trade.time_ms).encode(), trade.time_ms))
    engine.finish()
    return {interval: [candle for candle, _ in engine.candles(interval)] for interval in INTERVALS_MS}


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Two days, in which many a minute is empty."""
    tape = Tape(("BTCUSDT", "ETHUSDT"), START_MS, trades_per_s=0.02)
    for _ in tape.until(END_MS - 1):
        pass
    return tape


@pytest.fixture(scope="module")
def made(tape: Tape) -> dict[str, list[Candle]]:
    return candles_of(tape)


@pytest.fixture
async def venue(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeBinance]:
    async with FakeBinance(tape, lambda: END_MS, steps=False) as fake:
        monkeypatch.setenv("STOCKSTREAM_BINANCE_REST_URL", fake.rest_url)
        yield fake


@pytest.fixture
async def sink(
    clickhouse: ClickHouseFacade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ClickHouseSink]:
    url = f"{clickhouse.url}/compare_{uuid4().hex}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKHOUSE_URL", url)
    sink = ClickHouseSink(url)
    await sink.start()
    yield sink
    await sink.close()


async def compare(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["compare", *arguments])


def of_symbol(candles: list[Candle]) -> list[Candle]:
    return [candle for candle in candles if candle.symbol == SYMBOL]


@pytest.mark.parametrize("interval", INTERVALS_MS)
async def test_candles_of_the_engine_are_the_venue_s_own(
    venue: FakeBinance, sink: ClickHouseSink, made: dict[str, list[Candle]], interval: str
) -> None:
    for each in made.values():
        await sink.insert_candles(each)
    result = await compare(SYMBOL, *SPAN, "--interval", interval)
    count = len(of_symbol(made[interval]))
    windows = 2 * DAY_MS // INTERVALS_MS[interval]
    told = f"{count:,} compared, {count:,} equal, 0 different, 0 missing here, 0 missing at binance"
    assert (result.exit_code, result.output) == (0, f"{SYMBOL} {interval}: {told}\n")
    assert count == 2 if interval == "1d" else windows * 0.3 < count < windows
    assert venue.doorkeeper.weighed == 2 * -(-windows // 1000)


async def test_whatever_differs_is_found_and_fails(
    venue: FakeBinance, sink: ClickHouseSink, tape: Tape, made: dict[str, list[Candle]]
) -> None:
    ours = of_symbol(made["1m"])
    await sink.insert_candles(ours)
    altered = ours[1234]
    await sink.insert_candles([replace(altered, close=altered.close + 0.01, version=altered.version + 1)])
    result = await compare(SYMBOL, *SPAN)
    count = len(ours)
    assert result.exit_code == 1
    line, summary = result.stdout.splitlines()
    assert (
        line == f"{rfc3339(altered.window_start)}  close   {altered.close + 0.01!r} here, {altered.close!r} at binance"
    )
    assert summary.endswith(
        f": {count:,} compared, {count - 1:,} equal, 1 different, 0 missing here, 0 missing at binance"
    )
    assert result.stderr == ""
    around = str(altered.window_start - 5 * MINUTE_MS), str(altered.window_start)
    assert (await compare(SYMBOL, "--from", around[0], "--to", around[1])).exit_code == 0
    assert (await compare(SYMBOL, "--from", around[0], "--to", str(altered.window_start + 1))).exit_code == 1


async def test_what_one_side_lacks_is_told(
    venue: FakeBinance, sink: ClickHouseSink, made: dict[str, list[Candle]]
) -> None:
    ours = of_symbol(made["1m"])
    starts_ms = {candle.window_start for candle in ours}
    empty_ms = next(at_ms for at_ms in range(START_MS + DAY_MS, END_MS, MINUTE_MS) if at_ms not in starts_ms)
    lost = next(candle for candle in ours if candle.trades == 4 and candle.window_start < empty_ms)
    ours.remove(lost)
    invented = replace(ours[0], window_start=empty_ms, window_end=empty_ms + MINUTE_MS, trades=1)
    await sink.insert_candles([*ours, invented])
    result = await compare(SYMBOL, *SPAN)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:-1] == [
        f"{rfc3339(lost.window_start)}  candle  none here, 4 trades at binance",
        f"{rfc3339(empty_ms)}  candle  1 trade here, none at binance",
    ]
    assert result.stdout.endswith(f"{len(ours):,} equal, 0 different, 1 missing here, 1 missing at binance\n")


async def test_windows_that_are_not_over_are_left_out(
    venue: FakeBinance, sink: ClickHouseSink, made: dict[str, list[Candle]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = of_symbol(made["1m"])
    last = ours[1000]
    await sink.insert_candles([replace(each, close=0.5) for each in ours[1000:]])
    for after_ms, differ in ((4_999, 0), (5_000, 1)):
        monkeypatch.setattr("stockstream.cli.compare.now_ms", lambda after_ms=after_ms: last.window_end + after_ms)
        for until in ((), ("--to", "2025-11-19")):
            result = await compare(SYMBOL, "--from", str(last.window_start - 30_000), *until)
            assert (result.exit_code, len(result.stdout.splitlines())) == ((differ, differ + 1) if differ else (2, 0))
    assert result.stderr == ""


async def test_what_the_venue_does_not_know_and_a_database_without_tables_are_one_line(
    venue: FakeBinance, sink: ClickHouseSink, clickhouse: ClickHouseFacade, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await compare("BINANCE:NOTHING", *SPAN)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "stockstream: no history of NOTHING: Binance answers HTTP 400: Invalid symbol. (-1121)\n"
    monkeypatch.setenv("CLICKHOUSE_URL", f"{clickhouse.url}/nothing_{uuid4().hex}")
    result = await compare(SYMBOL, *SPAN)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("stockstream: ClickHouse at ")
