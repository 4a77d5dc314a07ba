"""What a source's control records do to rows: where a subscription starts, where ticks are missing, and no longer.

Marks are maxima and unions, so they commute with ticks and with each other. A repair takes away the holes that stand
before it in the log, and no later ones: rows remember it for as long as the log may be read again. A row created later
takes over what the row before it knows (`new_row`); a row that exists is marked at once, together with all later ones
that it concerns, so that each row knows by itself what its candle needs.
"""

from __future__ import annotations

from stockstream.core.holes import add, cut, pairs, reaching, touches
from stockstream.core.interval import INTERVALS_MS, Address, Key
from stockstream.core.row import Row
from stockstream.core.rows import Rows, Series
from stockstream.core.trading import Hours, bounds_of, date_of, window_of
from stockstream.models import Tick


def new_row(series: Series, topic_id: int, start: int, hours: Hours | None) -> Row:
    """A row for a window that has none yet, knowing what the row before it knows."""
    row = Row(topic_id)
    earlier = series.before(start)
    before = None if earlier is None else series.get(earlier)
    if earlier is not None and before is not None:
        at = (series.interval, series.key, start)
        opens, _, ends = bounds_of(hours, at)
        _mark_start(row, opens, ends, max(before.start_ms, before.joined_ms))
        if before.gap_until_ms:
            row.gap_until_ms = before.gap_until_ms
            row.holes = [edge for hole in pairs(before.holes) if hole[1] > opens for edge in hole]
            row.gap = touches(row.holes, opens, ends)
            row.repaired = [each for each in before.repaired if each[1] > opens]
            opened, _ = date_of(hours, at)
            row.blind = before.blind if earlier >= opened else before.gap_until_ms > opened
    return row


def mark(
    rows: Rows, topic_id: int, stamp: int, tick: Tick, key: Key, oldest_ms: int | None, hours: Hours | None
) -> list[Address]:
    """Apply a ``start`` or ``gap`` record; returns the rows concerned.

    Windows before the one of ``oldest_ms`` are no longer kept: they are not marked, whether their rows are still there
    or not. What they would have handed on is marked on the first window that is kept. ``hours`` are those of the name.
    """
    first_ms, last_ms = tick.event_time, _last_ms(tick)
    kept_ms = first_ms if oldest_ms is None else max(first_ms, oldest_ms)
    if tick.kind == "gap" and kept_ms > last_ms:
        return []
    concerned: list[Address] = []
    for interval in INTERVALS_MS:
        reached: int | None = window_of(hours, interval, key[1], kept_ms)
        series = rows.series(interval, key)
        while reached is not None:
            at = (interval, key, reached)
            found = series.get(reached)
            own = _hours_of(rows, found, hours)
            opened, _ = date_of(own, at)
            if tick.kind != "start" and opened > last_ms:
                break
            row = found or new_row(series, topic_id, reached, own)
            opens, _, ends = bounds_of(own, at)
            if tick.kind == "start":
                _mark_start(row, opens, ends, first_ms)
            else:
                row.blind = row.blind or first_ms <= opened < last_ms
                _mark_gap(row, opens, ends, first_ms, last_ms, stamp)
            row.stamp = max(row.stamp, stamp)
            series.put(reached, row)
            concerned.append(at)
            reached = series.after(reached)
    return concerned


def _hours_of(rows: Rows, row: Row | None, guessed: Hours | None) -> Hours | None:
    """The hours that a row's ticks have told; of one without ticks the ``guessed`` ones."""
    return rows.trading.hours(row.clock) if row is not None and row.clock else guessed


def _last_ms(tick: Tick) -> int:
    return tick.event_time if tick.until is None else tick.until


def _mark_start(row: Row, opens: int, ends: int, start_ms: int) -> None:
    if start_ms <= opens:
        row.start_ms = max(row.start_ms, start_ms)
    elif start_ms < ends and not 0 < row.joined_ms <= start_ms:
        row.joined_ms = start_ms


def _mark_gap(row: Row, opens: int, ends: int, first_ms: int, last_ms: int, stamp: int) -> None:
    row.gap_until_ms = max(row.gap_until_ms, last_ms)
    missing = [first_ms, last_ms]
    for from_ms, until_ms, repaired_at in row.repaired:
        if repaired_at > stamp:
            missing = cut(missing, from_ms, until_ms)
    for hole in pairs(reaching(missing, opens)):
        row.holes = add(row.holes, *hole)
    if not row.gap and touches(row.holes, opens, ends):
        row.gap = True
        row.amended = row.amended or row.closed


def repair(
    rows: Rows, stamp: int, tick: Tick, key: Key, oldest_ms: int | None, committed: int | None, hours: Hours | None
) -> list[Address]:
    """Apply a ``repair`` record; returns the rows whose windows it reaches into. ``oldest_ms`` as for `mark`.

    Repairs up to the stamp ``committed`` will not be read again, and are forgotten.
    """
    first_ms, last_ms = tick.event_time, _last_ms(tick)
    kept_ms = first_ms if oldest_ms is None else max(first_ms, oldest_ms)
    concerned: list[Address] = []
    for interval in INTERVALS_MS if kept_ms <= last_ms else ():
        series = rows.series(interval, key)
        begin = window_of(hours, interval, key[1], kept_ms)
        earlier = series.before(begin)
        before = None if earlier is None else series.get(earlier)
        if earlier is not None and before is not None and before.holes:
            # Its candle stays as it is; but it must not hand on what is repaired.
            _repair(before, first_ms, last_ms, stamp, committed)
            series.put(earlier, before)
        reached = begin if series.get(begin) is not None else series.after(begin)
        while reached is not None:
            row = series.get(reached)
            opens, _, ends = bounds_of(_hours_of(rows, row, hours), (interval, key, reached))
            if opens > last_ms:
                break
            if row is not None:
                if _repair(row, first_ms, last_ms, stamp, committed) and not touches(row.holes, opens, ends):
                    row.amended = row.amended or (row.closed and row.gap)
                    row.gap = False
                row.stamp = max(row.stamp, stamp)
                series.put(reached, row)
                concerned.append((interval, key, reached))
            reached = series.after(reached)
    return concerned


def _repair(row: Row, first_ms: int, last_ms: int, stamp: int, committed: int | None) -> bool:
    """Whether there was something to repair."""
    kept = [each for each in row.repaired if committed is None or each[2] > committed]
    row.repaired = sorted({*kept, (first_ms, last_ms, stamp)})
    left = cut(row.holes, first_ms, last_ms)
    is_less, row.holes = left != row.holes, left
    return is_less
