"""Merging the pieces of a batch into rows: what of a piece a row has not taken yet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from stockstream.core.batch import Batch
from stockstream.core.interval import start_in
from stockstream.core.partial import Partial, fold
from stockstream.core.piece import Minute, Piece, Stamped
from stockstream.core.row import Row
from stockstream.core.rows import Series
from stockstream.models import Verdict


class Line:
    """The rows of one interval and symbol that a batch merges into, by window start."""

    __slots__ = ("open", "series")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.open: dict[int, Open] = {}

    def start_of(self, minute: Minute) -> int | None:
        """Start of the window that a minute is part of; None if no trading date has it."""
        return start_in(self.series.interval, minute.start_ms, minute.day_ms)


@dataclass(slots=True)
class Open:
    """A row being merged into. ``guard`` is its stamp before the batch: what it had already taken."""

    row: Row
    guard: int


@dataclass(slots=True)
class Share:
    """What of a piece its rows may take: all but duplicates, ``whole`` the summary of it (None: nothing).

    ``first`` and ``last_fresh`` are the stamps of the first and last of it, ``last`` that of the piece's last tick.
    """

    whole: Partial | None
    first: int
    last_fresh: int
    last: int
    ticks: Callable[[], list[Stamped]]


def share_of(ledger: Open, piece: Piece, batch: Batch) -> Share:
    """The ticks of one minute that are no duplicates, by the ids that their 1m row has seen."""
    summary = piece.summary
    if summary is not None and summary.first > ledger.guard and ledger.row.ids.extend(summary.ids):
        return Share(summary.whole, summary.first, summary.last, summary.last, piece.ticks)
    ticks = piece.ticks()
    fresh = _unique(ledger, ticks, batch)
    last = ticks[-1][0]
    if not fresh:
        return Share(None, last, last, last, piece.ticks)
    return Share(fold(fresh), fresh[0][0], fresh[-1][0], last, lambda: fresh)


def _unique(ledger: Open, ticks: list[Stamped], batch: Batch) -> list[Stamped]:
    """``ticks`` without duplicates.

    What the 1m row has taken already is decided by its list of duplicates, so that the other intervals, which a crash
    may have left behind, drop the same ticks when they are read again.
    """
    row, guard = ledger.row, ledger.guard
    fresh: list[Stamped] = []
    for stamped in ticks:
        place, tick = stamped
        if place <= guard:
            at = bisect_left(row.duplicates, place)
            duplicate = at < len(row.duplicates) and row.duplicates[at] == place
        else:
            duplicate = tick.kind == "trade" and tick.trade_id >= 0 and not row.ids.add(tick.trade_id)
            if duplicate:
                row.duplicates.append(place)
        if duplicate:
            batch.refused[place] = Verdict.DUPLICATE
        else:
            fresh.append(stamped)
    return fresh


def forget_duplicates(row: Row, committed: int | None) -> None:
    """Of those up to the stamp ``committed``: they will never be read again, and need not be told from good ticks."""
    if committed is not None and row.duplicates and row.duplicates[0] <= committed:
        del row.duplicates[: bisect_right(row.duplicates, committed)]


def merge_into(target: Open, share: Share) -> None:
    """Merge what of ``share`` lies above the guard."""
    row, guard = target.row, target.guard
    if share.last > row.stamp:
        row.stamp = share.last
    if share.whole is None or share.last_fresh <= guard:
        return
    part, first = share.whole, share.first
    if first <= guard:
        above = [stamped for stamped in share.ticks() if stamped[0] > guard]
        first, cut = above[0][0], fold(above)
        if cut is None:
            return
        part = cut
    take(row, part.copy() if row.bar is None else part, first)


def take(row: Row, part: Partial, first: int) -> None:
    """Merge a part of the window that the row has seen nothing of; ``first`` is the stamp of its first tick.

    The ``part`` is the row's own from now on.
    """
    if row.bar is None:
        row.bar = part
        row.first_stamp = first
        return
    if row.closed and not row.amended:
        before = row.bar.copy()
        row.bar.merge(part)
        row.amended = row.bar != before
    else:
        row.bar.merge(part)
