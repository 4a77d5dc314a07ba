"""Trades that are merged by themselves change what the long way, by pieces of minutes, would have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from crashing import NEVER_LATE, ByteRows
from hypothesis import given
from hypothesis import strategies as st
from rounding import plain_rows, without_rounding
from ticks import streams

from stockstream.core.engine import Engine
from stockstream.core.piece import Stamped
from stockstream.models import Tick

Batches = list[list[Stamped]]


class TheLongWay(Engine):
    """Merges nothing by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lone = Nothing()  # type: ignore[assignment]  # of LoneTrades it has what is called


class Nothing:
    def take(self, topic_id: int, ticks: Sequence[Stamped], *rest: Any) -> Sequence[Stamped]:
        return ticks


@st.composite
def live(draw: st.DrawFn) -> list[Tick]:
    """What a venue sends as it happens: trades mostly in order, some late, again, or of another kind."""
    rng = Random(draw(st.integers(0, 2**32)))
    ticks: list[Tick] = []
    at_ms, ids = 1_727_913_570_000, dict.fromkeys(("A", "B"), 0)
    for _ in range(draw(st.integers(1, 60))):
        at_ms += rng.choice((0, 1, 40, 900, 900, 9_000))
        symbol = rng.choice(("A", "A", "A", "B"))
        ids[symbol] += rng.choice((0, 1, 1, 1, 3))
        late_ms = rng.choice((0, 0, 0, 0, 5, 4_000, 70_000, 200_000))
        tick = Tick(
            symbol,
            at_ms - late_ms,
            round(rng.uniform(99, 101), 2),
            round(rng.expovariate(0.1), 8),
            trade_id=rng.choice((ids[symbol],) * 3 + (-1,)),
            producer_timestamp=rng.choice((0, at_ms)),
            sequence=rng.choice((None, None, None, ids[symbol])),
            source="binance",
        )
        match rng.randrange(30):
            case 0 if ticks:
                tick = rng.choice(ticks)
            case 1:
                tick = replace(tick, kind="gap", until=at_ms + 30_000, cause="silence")
            case 2:
                tick = replace(tick, kind="start")
            case 3:
                tick = replace(tick, kind="quote")
            case 4:
                tick = replace(tick, kind="snapshot", day_volume=len(ticks))
            case 5:
                tick = replace(tick, price=-1.0)
        ticks.append(tick)
    return ticks


@st.composite
def batches(draw: st.DrawFn) -> Batches:
    """A log in small batches, some of which are read again."""
    ticks = draw(st.one_of(live(), live(), streams))
    log = list(enumerate(ticks, 100))
    found: Batches = []
    while log:
        size = draw(st.integers(1, 6))
        found.append(log[:size])
        log = log[size:]
    again = draw(st.lists(st.integers(0, len(found) - 1), max_size=3)) if found else []
    for place in again:
        found.insert(draw(st.integers(place, len(found))), found[place])
    return found


def run(engine: Engine, rows: ByteRows, log: Batches) -> Iterator[tuple[object, ...]]:
    """What each batch came to."""
    for number, batch in enumerate(log):
        engine.committed = log[max(0, number - 4)][0][0] - 1
        applied = engine.apply(7, batch, now_ms=0)
        touched = {**applied.touched, **dict.fromkeys(engine.close(0, idle=False))}
        candles = {candle.key: without_rounding(candle) for candle in engine.publish(touched)}
        if number % 2:
            rows.store(touched)
        yield set(touched), candles, applied.batch.verdicts(), applied.batch.refused, applied.batch.last


@given(batches(), st.sampled_from([0, 2000, 200_000]))
def test_equals_the_long_way(log: Batches, close_delay_ms: int) -> None:
    rows = ByteRows({}), ByteRows({})
    lone, long = (
        kind(each, NEVER_LATE, close_delay_ms=close_delay_ms, retention_ms=60_000)
        for kind, each in zip((Engine, TheLongWay), rows, strict=True)
    )
    for mine, theirs in zip(run(lone, rows[0], log), run(long, rows[1], log), strict=True):
        assert mine == theirs
    assert plain_rows(rows[0]) == plain_rows(rows[1])
