"""A candle's volume from the cumulative volume of its vendor.

A row keeps the cumulative that it closed with; the volume of a candle is what that grew by since the candle before it
on the same trading date. It is derived whenever a candle is published, never stored: a late tick in one candle changes
the next one's volume too, and a stored difference would go stale in a crash between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from stockstream.core.interval import trading_day
from stockstream.core.partial import Cumulative
from stockstream.core.row import Baseline, Row
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

    The first candle of a trading date counts from 0 if its symbol was subscribed when the session opened, was not
    subscribed anew before the first value, and no hole covers the open; otherwise from the first value, and is partial.
    What a hole between two candles hides goes to the later one, which is flagged. A 1d candle's volume is the latest
    cumulative. A cumulative that went down is a correction: flagged, the new baseline for what follows, never a
    negative volume. A dip that the same candle makes good again cannot be told from growth.
    """
    opened, _ = trading_day(at[2])
    before = preceding(rows, at)
    corrected = seen.peak > seen.last[1]
    if before is not None:
        since_ms, baseline, stamp = before
        return Volume(
            max(seen.last[1] - baseline, 0),
            max(row.stamp, stamp),
            gap=row.gap_until_ms > since_ms,
            corrected=corrected or min(seen.first[1], seen.last[1]) < baseline,
        )
    cold = row.blind or not 0 < row.start_ms <= opened or row.began_unseen or 0 < row.joined_ms <= seen.first[0]
    baseline = seen.first[1] if cold and at[0] != "1d" else 0
    return Volume(
        max(seen.last[1] - baseline, 0),
        row.stamp,
        partial=cold,
        gap=row.gap_until_ms > opened,
        corrected=corrected or seen.last[1] < baseline,
    )


def preceding(rows: Rows, at: Address) -> Baseline | None:
    """The closing cumulative of the nearest earlier row of the same trading date that has one."""
    interval, key, start = at
    opened, _ = trading_day(start)
    row = rows.get(at)
    while row is None or row.baseline is None:
        earlier = rows.before((interval, key, start))
        if earlier is None or earlier < opened:
            return None
        start = earlier
        row = rows.get((interval, key, start))
        seen = row.bar.cumulative if row is not None and row.bar is not None else None
        if seen is not None:
            return (*seen.last, seen.stamp)
    return row.baseline


def next_counted(rows: Rows, at: Address) -> Address | None:
    """The row whose volume counts from the one at ``at``: the nearest later one of its date with a cumulative."""
    interval, key, start = at
    _, closed = trading_day(start)
    while (later := rows.after((interval, key, start))) is not None and later < closed:
        start = later
        row = rows.get((interval, key, start))
        if row is not None and row.bar is not None and row.bar.cumulative is not None:
            return interval, key, start
    return None
