from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from reference import reference_candles

from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick, Verdict
from stockstream.sources.replay.trades_file import SAMPLE

DATA = Path(__file__).parents[2] / "data" / "xrp_eth_2019"
SYMBOL = "BINANCE:XRPETH"


@pytest.fixture(scope="module")
def trades() -> list[Tick]:
    with gzip.open(SAMPLE, "rt") as file:
        return [
            Tick(SYMBOL, int(row["event_ms"]), float(row["price"]), float(row["size"]), trade_id=int(row["trade_id"]))
            for row in csv.DictReader(file)
        ]


def candles(engine: OfflineEngine, interval: str) -> list[tuple[Candle, str | None]]:
    return list(engine.candles(interval))


def disordered(trades: list[Tick]) -> list[Tick]:
    """Moved by seconds, and every tenth trade twice."""
    chance = random.Random(1)
    twice = [*trades, *chance.sample(trades, len(trades) // 10)]
    return sorted(twice, key=lambda trade: trade.event_time + chance.randrange(8_000))


@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_real_trades_in_disorder_make_the_candles_of_another_program(trades: list[Tick], interval: str) -> None:
    engine = OfflineEngine()
    ticks = disordered(trades)
    for first in range(0, len(ticks), 777):
        engine.add(ticks[first : first + 777])
    engine.finish()
    found = candles(engine, interval)
    with (DATA / f"candles_{interval}.csv").open() as file:
        expected = list(csv.DictReader(file))
    assert len(found) == len(expected)
    for (candle, volume), row in zip(found, expected, strict=True):
        assert candle.window_start == int(row["start_ms"])
        prices = [candle.open, candle.high, candle.low, candle.close]
        assert prices == [float(row[name]) for name in ("open", "high", "low", "close")]
        assert volume is not None
        assert abs(Decimal(volume) - Decimal(row["volume"])) <= Decimal("1e-6")
        assert candle.is_closed


def test_the_days_of_real_trades_are_their_exact_roll_up(trades: list[Tick]) -> None:
    engine = OfflineEngine()
    engine.add(trades)
    expected = reference_candles(list(enumerate(trades)))
    found = candles(engine, "1d")
    assert [candle.window_start for candle, _ in found] == sorted(
        start for _, interval, _, start in expected if interval == "1d"
    )
    for candle, volume in found:
        assert volume is not None
        assert Decimal(volume) == expected[SYMBOL, "1d", "regular", candle.window_start].volume
    assert sum(candle.trades or 0 for candle, _ in found) == len(trades)


def test_every_tick_is_counted_by_its_verdict(trades: list[Tick]) -> None:
    engine = OfflineEngine()
    verdicts = engine.add([*trades[:10], trades[3], Tick(SYMBOL, 0, 1.0), Tick(SYMBOL, 5, -1.0)])
    assert verdicts == [Verdict.ACCEPTED] * 10 + [Verdict.DUPLICATE, Verdict.BAD_TIME, Verdict.BAD_PRICE]
    assert engine.verdicts == Counter(verdicts)


def test_nothing_is_late_unless_asked_for(trades: list[Tick]) -> None:
    late = Tick(SYMBOL, trades[0].event_time, 1.0, producer_timestamp=trades[-1].event_time)
    assert OfflineEngine().add([late]) == [Verdict.ACCEPTED]
    assert OfflineEngine(Policy()).add([late]) == [Verdict.LATE]


def test_ticks_given_again_at_their_old_place_change_nothing(trades: list[Tick]) -> None:
    engine = OfflineEngine()
    engine.add(trades[:50])
    before = candles(engine, "1m")
    engine.add(trades[:50], first_offset=0)
    assert candles(engine, "1m") == before


def test_an_engine_without_ticks_has_no_candles() -> None:
    engine = OfflineEngine()
    engine.finish()
    assert candles(engine, "1m") == []
