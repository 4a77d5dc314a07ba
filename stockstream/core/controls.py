"""What a source's control records do to rows: where a subscription starts, and where ticks are known to be missing.

Marks are maxima and unions, so they commute with ticks and with each other. A row created later takes over what the
row before it knows (`new_row`); a row that exists is marked at once.
"""

from __future__ import annotations

from stockstream.core.interval import INTERVALS_MS, session_bounds, trading_day, window_start
from stockstream.core.row import Row
from stockstream.core.rows import Address, Key, Rows
from stockstream.models import Tick


def new_row(rows: Rows, topic_id: int, at: Address) -> Row:
    """A row for a window that has none yet, knowing what the row before it knows."""
    row = Row(topic_id)
    interval, key, start = at
    earlier = rows.before(at)
    if earlier is not None:
        before = rows.get((interval, key, earlier))
        if before is not None:
            row.start_ms = before.start_ms
            if before.gap_until_ms > start:
                row.gap, row.gap_until_ms = True, before.gap_until_ms
    return row


def mark(rows: Rows, topic_id: int, stamp: int, tick: Tick, key: Key, reach_ms: int | None) -> list[Address]:
    """Apply a ``start`` or ``gap`` record; returns the rows concerned. A gap is followed ``reach_ms`` back at most."""
    first_ms = last_ms = tick.event_time
    if tick.kind == "gap" and tick.until is not None:
        last_ms = tick.until
        if reach_ms is not None:
            first_ms = max(first_ms, last_ms - reach_ms)
    concerned: list[Address] = []
    for interval in INTERVALS_MS:
        ends = {window_start(interval, first_ms), window_start(interval, last_ms)}
        for start in sorted(ends):
            if rows.get((interval, key, start)) is None:
                rows.put((interval, key, start), new_row(rows, topic_id, (interval, key, start)))
        reached: int | None = min(ends)
        while reached is not None:
            at = (interval, key, reached)
            row = rows.get(at)
            if row is None or not _mark_row(at, row, tick.kind, first_ms, last_ms):
                break
            row.stamp = max(row.stamp, stamp)
            rows.put(at, row)
            concerned.append(at)
            reached = rows.after(at)
    return concerned


def _mark_row(at: Address, row: Row, kind: str, first_ms: int, last_ms: int) -> bool:
    """Mark one row; False if the record does not reach it, and so no later one either."""
    opens, closes = session_bounds(at[0], at[2])
    if kind == "start":
        row.start_ms = max(row.start_ms, first_ms)
        if opens < first_ms < closes and not 0 < row.joined_ms <= first_ms:
            row.joined_ms = first_ms
        return True
    if opens > last_ms:
        return False
    row.gap = True
    row.gap_until_ms = max(row.gap_until_ms, last_ms)
    return True


def freeze_baseline(rows: Rows, at: Address, row: Row) -> None:
    """Before a row goes: let the next one of its trading date keep the cumulative volume it counts from."""
    interval, key, start = at
    later = rows.after(at)
    if later is None or trading_day(later)[0] != trading_day(start)[0]:
        return
    follower = rows.get((interval, key, later))
    if follower is None:
        return
    seen = row.bar.cumulative if row.bar is not None else None
    if seen is not None:
        follower.baseline = (seen.last[1], seen.stamp)
    elif row.baseline is not None:
        follower.baseline = row.baseline
    follower.gap = follower.gap or row.gap_until_ms > later
    rows.put((interval, key, later), follower)
