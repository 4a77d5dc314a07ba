"""How long rows are kept, and which ticks come too late even for that.

Rows are kept per symbol and interval, relative to the newest. What decides whether a tick is too old is in the rows and
in the tick, never in what happens to be stored still: the same log gives the same verdicts, whatever was evicted when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from stockstream.core.interval import INTERVALS_MS, LEDGER, Address, Key, window_start
from stockstream.core.piece import Minute, Piece, Stamped
from stockstream.core.rows import Rows, Series
from stockstream.core.runs import Run
from stockstream.core.volume import preceding


class Retention:
    """Forgets rows that ended ``keep_ms`` before their symbol's newest row begins, but for the last of them.

    That last one is the anchor: every tick that can still come finds a row before its own, and thus what it needs to
    know of subscriptions, holes and cumulative volume.
    """

    def __init__(self, rows: Rows, keep_ms: int | None) -> None:
        """``keep_ms``: None keeps all."""
        self._rows = rows
        self._keep_ms = keep_ms
        self._anchors: dict[tuple[str, Key], tuple[int, int]] = {}

    def oldest_ms(self, key: Key, stamp: int) -> int | None:
        """Start of the oldest window that a record at ``stamp`` may give a row; None for no bound."""
        if self._keep_ms is None:
            return None
        newest = self._newest_before(key, stamp, -1)
        return None if newest is None else newest - self._keep_ms

    def may_expire(self, key: Key, run: Run) -> bool:
        """Whether `expired` has to look at the ticks of a run."""
        if self._keep_ms is None:
            return False
        stored = self._rows.series(LEDGER, key).newest
        newest = max(run.minutes.last_start_ms, -1 if stored is None else stored)
        return run.minutes.start_ms(0) < newest - self._keep_ms

    def expired(self, pieces: Mapping[Minute, Piece]) -> set[int]:
        """Stamps of the ticks in ``pieces`` whose window is no longer kept."""
        found: set[int] = set()
        if self._keep_ms is None:
            return found
        minutes: dict[Key, list[Minute]] = {}
        for minute in pieces:
            minutes.setdefault(minute.key, []).append(minute)
        for key, of_key in minutes.items():
            stored = self._rows.series(LEDGER, key).newest
            starts = [minute.start_ms for minute in of_key]
            newest = max(starts) if stored is None else max(max(starts), stored)
            if min(starts) < newest - self._keep_ms:
                ticks = sorted((stamped for minute in of_key for stamped in pieces[minute].ticks()), key=itemgetter(0))
                found.update(self._expired_of(key, ticks, self._keep_ms))
        return found

    def _expired_of(self, key: Key, ticks: Sequence[Stamped], keep_ms: int) -> Iterator[int]:
        """What counts for a tick is what the log held before it, so that a replay judges as the first reading did."""
        newest = -1
        for stamp, tick in ticks:
            start = window_start(LEDGER, tick.event_time)
            if start < newest - keep_ms or self._newest_before(key, stamp, start + keep_ms) is not None:
                yield stamp
            else:
                newest = max(newest, start)

    def _newest_before(self, key: Key, stamp: int, above: int) -> int | None:
        """Start of the newest window, beginning after ``above``, that a tick before ``stamp`` in the log has opened."""
        reached = self._rows.series(LEDGER, key).newest
        while reached is not None and reached > above:
            row = self._rows.get((LEDGER, key, reached))
            if row is not None and 0 <= row.first_stamp < stamp:
                return reached
            reached = self._rows.before((LEDGER, key, reached))
        return None

    def evict(self, series: Series, start: int, stamp: int, committed: int | None) -> None:
        """A tick of a batch that ends at ``stamp`` has opened the row at ``start``: forget what has become too old.

        Nothing goes that may be read again, being above ``committed`` (None: nothing will be). And the anchor must
        have been stored with what it takes over before the rows behind it go: a crash may bring back its older state.
        """
        interval, key = series.interval, series.key
        if self._keep_ms is None or series.starts[0] > start - self._keep_ms - INTERVALS_MS[interval]:
            return
        waiting = self._anchors.get((interval, key))
        if waiting is None:
            waiting = self._freeze(interval, key, start - self._keep_ms, stamp)
        if waiting is None or (committed is not None and waiting[1] > committed):
            return
        behind = self._behind((interval, key, waiting[0]), committed)
        if behind is None:
            return
        for old in behind:
            self._rows.delete(old)
        del self._anchors[interval, key]
        if committed is not None:
            self._freeze(interval, key, start - self._keep_ms, stamp)

    def _freeze(self, interval: str, key: Key, edge_ms: int, stamp: int) -> tuple[int, int] | None:
        """Let the newest row that ends by ``edge_ms`` know what the rows before it know; (its start, ``stamp``)."""
        anchor = self._rows.before((interval, key, edge_ms - INTERVALS_MS[interval] + 1))
        if anchor is None or self._rows.before((interval, key, anchor)) is None:
            return None
        at = (interval, key, anchor)
        row = self._rows.get(at)
        if row is None:
            return None
        baseline = preceding(self._rows, at)
        if baseline != row.baseline:
            row.baseline = baseline
            self._rows.put(at, row)
        waiting = self._anchors[interval, key] = anchor, stamp
        return waiting

    def _behind(self, anchor: Address, committed: int | None) -> list[Address] | None:
        """The rows before the anchor; None if one of them must stay, and thus all that it counts from."""
        interval, key, end = anchor
        found: list[Address] = []
        reached = self._rows.after((interval, key, -1))
        while reached is not None and reached < end:
            at = (interval, key, reached)
            row = self._rows.get(at)
            if row is not None:
                forming = row.bar is not None and not row.closed
                # A closing is known outside once anything after it is committed.
                if forming or (committed is not None and max(row.stamp, row.closed_at + 1) > committed):
                    return None
                found.append(at)
            reached = self._rows.after(at)
        return found
