"""Windows that a batch of columns both opens and ends: written and published at once, without a row as an object.

Of a backlog they are nearly all. What merging and closing would make of them is known beforehand: a row that is new
holds exactly the figures of its ticks, and closes with them. Minutes are taken here only where that is sure; everything
else goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from stockstream.core.interval import INTERVALS_MS, LEDGER, window_start
from stockstream.core.partial import E8, Partial
from stockstream.core.publish import window_bounds
from stockstream.core.row import candle_version, encoded_whole
from stockstream.core.rows import Series
from stockstream.core.runs import Figures, Run
from stockstream.models import Candle


@dataclass(slots=True)
class Sum:
    """What the ticks of one window come to: ``first`` and ``last`` are stamps, ``ids`` the ranges of trade ids."""

    start_ms: int
    first: int
    last: int
    bar: Partial
    ids: list[int]


def whole_minutes(run: Run, series: Sequence[Series], ended_ms: int) -> tuple[int, int]:
    """Which of the run's minutes, ``[begin, end)``, have no row yet and have ended by ``ended_ms``.

    None where something has to be looked at: ticks that are no plain trades, holes, rows of longer intervals that have
    taken some of these ticks before, or that a crash has left ahead of the minutes. ``series`` are those of all
    intervals.
    """
    minutes, newest = run.minutes, series[0].newest
    begin, end = 0, len(minutes)
    while end and minutes[end - 1].start_ms + INTERVALS_MS[LEDGER] > ended_ms:
        end -= 1
    while newest is not None and begin < end and minutes[begin].start_ms <= newest:
        begin += 1
    whole = minutes[begin:end]
    if not whole or not _are_plain(minutes, whole):
        return 0, 0
    first = min(minute.first for minute in whole)
    for each in series:
        if each.newest is None:
            continue
        row = each.get(each.newest)
        start = window_start(each.interval, whole[0].start_ms)
        taken = each.newest > start or (each.newest == start and row is not None and row.stamp >= first)
        if row is None or row.gap_until_ms or (taken and each.interval != LEDGER):
            return 0, 0
    return begin, end


def _are_plain(minutes: Sequence[Figures], whole: Sequence[Figures]) -> bool:
    """Whether all are of one venue, with ids that ascend, and the ``whole`` ones hold nothing but trades."""
    venue = minutes[0].venue
    return not any(minute.is_odd or minute.venue != venue for minute in minutes) and all(
        minute.trades == minute.end - minute.begin for minute in whole
    )


def sums_of(minutes: Sequence[Figures]) -> list[Sum]:
    """Those of single minutes."""
    return [Sum(minute.start_ms, minute.first, minute.last, minute.partial, minute.ids) for minute in minutes]


def rolled_up(sums: Sequence[Sum], interval: str) -> list[Sum]:
    """Those of a longer interval; trade ids are kept by minutes only."""
    found = []
    for start, group in groupby(sums, lambda each: window_start(interval, each.start_ms)):
        first, *others = group
        whole = Sum(start, first.first, first.last, first.bar.copy(), [])
        for each in others:
            whole.first, whole.last = min(whole.first, each.first), max(whole.last, each.last)
            whole.bar.merge(each.bar)
        found.append(whole)
    return found


def write_whole(series: Series, sums: Sequence[Sum], topic_id: int, closed_at: int, clock: str) -> list[Candle]:
    """Append closed rows to a series; returns their candles. ``closed_at`` is how far the log has been read."""
    interval, (symbol, session), newest = series.interval, series.key, series.newest
    before = None if newest is None else series.get(newest)
    started_ms = 0 if before is None else max(before.start_ms, before.joined_ms)
    candles = []
    for each in sums:
        start, last, bar = each.start_ms, each.last, each.bar
        series.append_encoded(
            start, encoded_whole(topic_id, last, each.first, closed_at, started_ms, clock, each.ids, bar)
        )
        end, opens, closes = window_bounds(interval, start)
        candle = Candle(
            symbol, interval, session, start, end,
            bar.first[3], bar.high, bar.low, bar.last[3], bar.volume_e8 / E8, bar.vwap, bar.trades,
            True, candle_version(last, True), opens, closes, False, False, False, "closed",
        )  # fmt: skip
        candles.append(candle)
    return candles
