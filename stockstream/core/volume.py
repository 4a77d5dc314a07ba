"""A candle's volume from the cumulative volume of its vendor.

A row keeps the cumulative that it closed with; the volume of a candle is what that grew by since the candle before it
on the same trading date: of the regular session the one before it in that session, in extended hours the one before it
in either. It is derived whenever a candle is published, never stored: a late tick in one candle changes the next one's
volume too, and a stored difference would go stale in a crash between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stockstream.core.interval import DAILY, EXTENDED, REGULAR, SESSIONS, Address
from stockstream.core.partial import Cumulative
from stockstream.core.row import Baseline, Row
from stockstream.core.rows import Rows
from stockstream.core.trading import date_of, is_dated


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
    So does one between two dates: a vendor still tells then what it counted on the date before. What a hole between two
    candles hides goes to the later one, which is flagged. A 1d candle's volume is the latest cumulative. A cumulative
    that went down is a correction: flagged, the new baseline for what follows, never a negative volume. A dip that the
    same candle makes good again cannot be told from growth.
    """
    hours = rows.trading.hours(row.clock)
    opened, _ = date_of(hours, at)
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
    cold = (
        not is_dated(hours, at)
        or row.blind
        or not 0 < row.start_ms <= opened
        or row.began_unseen
        or 0 < row.joined_ms <= seen.first[0]
    )
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
    row = rows.get(at)
    if row is not None and row.baseline is not None:
        return row.baseline
    if at[0] == DAILY:
        return None
    opened, _ = date_of(rows.trading.hours("" if row is None else row.clock), at)
    for earlier in _earlier(rows, at, opened):
        seen = None if earlier.bar is None else earlier.bar.cumulative
        if seen is not None:
            return (*seen.last, seen.stamp)
        if earlier.baseline is not None:
            return earlier.baseline
    return None


def _earlier(rows: Rows, at: Address, opened: int) -> Iterator[Row]:
    """The rows before one since its date's session has opened, the nearest first."""
    interval, (symbol, session), start = at
    places = {session: start}
    if session == EXTENDED:
        places[REGULAR] = start + 1  # what of a minute is regular comes before what is not
    while True:
        found = {each: rows.before((interval, (symbol, each), place)) for each, place in places.items()}
        known = [(place, each == EXTENDED, each) for each, place in found.items() if place is not None]
        if not known:
            return
        place, _, nearest = max(known)
        if place < opened:
            return
        places[nearest] = place
        row = rows.get((interval, (symbol, nearest), place))
        if row is not None:
            yield row


def counted_from(rows: Rows, at: Address, row: Row) -> list[Address]:
    """The rows whose volume may count from the one at ``at``: the next ones of its date with a cumulative volume."""
    interval, (symbol, session), start = at
    if interval == DAILY:
        return []
    hours = rows.trading.hours(row.clock)
    found = []
    for other in (session,) if hours is None else SESSIONS[SESSIONS.index(session) :]:
        key = (symbol, other)
        _, closed = date_of(hours, (interval, key, start))
        later = rows.after((interval, key, start if other == session else start - 1))
        while later is not None and later < closed:
            known = rows.get((interval, key, later))
            if known is not None and known.bar is not None and known.bar.cumulative is not None:
                found.append((interval, key, later))
                break
            later = rows.after((interval, key, later))
    return found
