"""A candle's volume from the cumulative volume of its vendor.

A row keeps the cumulative that it closed with; the volume of a candle is what that grew by since the candle before it
on the same trading date. It is derived whenever a candle is published, never stored: a late tick in one candle changes
the next one's volume too, and a stored difference would go stale in a crash between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from stockstream.core.interval import trading_day
from stockstream.core.partial import Cumulative
from stockstream.core.row import Row
from stockstream.core.rows import Address, Rows


@dataclass(frozen=True, slots=True)
class Volume:
    """Volume of one candle; ``stamp`` is the newest place in the log that it depends on."""

    amount: int
    stamp: int
    partial: bool = False
    gap: bool = False
    corrected: bool = False


def cumulative_volume(rows: Rows, at: Address, row: Row, seen: Cumulative) -> Volume:
    """The volume of the row at ``at`` whose bar has ``seen`` this cumulative volume.

    The first candle of a trading date counts from 0 if its symbol was subscribed before the session opened and no hole
    lies between; otherwise from the first value seen, and is partial. A 1d candle's volume is the latest cumulative.
    A cumulative that went down is a correction: flagged, the new baseline for what follows, never a negative volume.
    """
    interval, _, start = at
    opened, _ = trading_day(start)
    before, gap = _preceding(rows, at, opened)
    corrected = seen.peak > seen.last[1]
    if interval == "1d":
        cold = not 0 < row.start_ms <= opened or gap
        return Volume(seen.last[1], row.stamp, partial=cold, gap=gap, corrected=corrected)
    stamp = row.stamp
    partial = False
    if before is not None:
        baseline, before_stamp = before
        stamp = max(stamp, before_stamp)
    elif 0 < row.start_ms <= opened and not (gap or _hole_before(row, seen, start)):
        baseline = 0
    else:
        baseline, partial = seen.first[1], True
    grown = seen.last[1] - baseline
    return Volume(max(grown, 0), stamp, partial=partial, gap=gap, corrected=corrected or grown < 0)


def _hole_before(row: Row, seen: Cumulative, start: int) -> bool:
    return row.gap and seen.first[0] > start


def _preceding(rows: Rows, at: Address, opened: int) -> tuple[tuple[int, int] | None, bool]:
    """(cumulative, stamp) of the candle before on the same date, and whether a hole lies between the two."""
    interval, key, start = at
    gap = False
    while (earlier := rows.before((interval, key, start))) is not None:
        start = earlier
        row = rows.get((interval, key, start))
        if row is None:
            break
        if start < opened:
            return None, gap or row.gap_until_ms > opened
        seen = row.bar.cumulative if row.bar is not None else None
        if seen is not None:
            return (seen.last[1], seen.stamp), gap or row.gap_until_ms > seen.last[0]
        gap = gap or row.gap
    return _frozen(rows, at, opened), gap


def _frozen(rows: Rows, at: Address, opened: int) -> tuple[int, int] | None:
    """The baseline left by an evicted candle: on this row, or on the next one if this row came in between since."""
    row = rows.get(at)
    if row is not None and row.baseline is not None:
        return row.baseline
    interval, key, _ = at
    later = rows.after(at)
    if later is None or trading_day(later)[0] != opened:
        return None
    row = rows.get((interval, key, later))
    return None if row is None else row.baseline
