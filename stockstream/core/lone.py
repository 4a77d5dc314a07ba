"""Trades taken by themselves: one that lies ahead of all that its rows have seen is merged into them right away.

Live, a fetch brings one or two ticks of each of many symbols, and nearly all are of this kind: a new trade in windows
that are open already. The long way, by pieces of minutes, would find just the same. A trade is taken this way only
where that is sure; every other goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stockstream.core.batch import Batch
from stockstream.core.interval import INTERVALS_MS, LEDGER, Address, Key, start_in, window_end, window_start
from stockstream.core.merge import forget_duplicates
from stockstream.core.partial import Partial
from stockstream.core.piece import Stamped, clock_of
from stockstream.core.row import Row
from stockstream.core.rows import Rows, Series
from stockstream.core.trading import Hours, place_of
from stockstream.core.verdict import Policy
from stockstream.core.watermark import Clocks
from stockstream.models import Tick, Verdict

_MOST_REMEMBERED = 3000  # symbols, of each three rows


@dataclass(frozen=True, slots=True, eq=False)
class Forming:
    """The open rows of a symbol's windows that hold ``[begin_ms, end_ms)``, one an interval, the ledger's first."""

    begin_ms: int
    end_ms: int
    hours: Hours | None
    rows: tuple[tuple[Series, Address, Row, Partial], ...]

    def lacks(self, topic_id: int, stamp: int, tick: Tick, hours: Hours | None) -> bool:
        """Whether the trade at ``stamp`` may be merged: it is theirs, and none of them has seen it, nor its id.

        They must be at hand still, open, and the newest: ticks of an earlier window may have come too late to be kept.
        """
        if not self.begin_ms <= tick.event_time < self.end_ms or hours is not self.hours:
            return False
        for series, (_, _, start), row, _ in self.rows:
            if (
                row.stamp >= stamp
                or row.closed
                or row.topic_id != topic_id
                or series.held.get(start) is not row
                or series.starts[-1] != start
            ):
                return False
        seen = self.rows[0][2].ids.bounds
        return tick.trade_id < 0 or not seen or tick.trade_id > seen[-1]

    def merge(self, stamp: int, tick: Tick) -> None:
        """Merge a trade that is lacking."""
        if tick.trade_id >= 0:
            self.rows[0][2].ids.add(tick.trade_id)
        part = Partial.of(tick, stamp)
        for _, _, row, bar in self.rows:
            row.stamp = stamp
            bar.merge(part)


class LoneTrades:
    """Merges the trades of a batch that it can into the rows of every interval, and moves their clocks."""

    def __init__(self, rows: Rows, policy: Policy, clocks: Clocks) -> None:
        self._rows = rows
        self._policy = policy
        self._clocks = clocks
        self._forming: dict[Key, Forming] = {}

    def take(
        self,
        topic_id: int,
        ticks: Sequence[Stamped],
        now_ms: int,
        committed: int | None,
        batch: Batch,
        touched: dict[Address, Row | None],
    ) -> list[Stamped]:
        """Merge the trades that lie ahead of their rows; returns all others, and what follows of their symbols.

        The arguments are those of `Engine.apply`; the rows that were merged into are added to ``touched``.
        """
        others, left, merged = set[str](), [], dict[Forming, None]()
        for stamped in ticks:
            stamp, tick = stamped
            if tick.kind == "trade":
                # Judged first: of what can be no symbol nothing may be remembered.
                if tick.symbol not in others and self._policy.judge(tick) is Verdict.ACCEPTED:
                    clock, reached_ms = clock_of(tick)
                    forming = self._lacking(topic_id, stamp, tick, self._rows.trading.hours(clock))
                    if forming is not None:
                        self._clocks.move(clock, reached_ms, now_ms)
                        forming.merge(stamp, tick)
                        merged[forming] = None
                        continue
                others.add(tick.symbol)
            elif tick.kind == "snapshot":
                others.add(tick.symbol)
            left.append(stamped)
        for forming in merged:
            forget_duplicates(forming.rows[0][2], committed)
            for series, at, row, _ in forming.rows:
                series.put(at[2], row)
                touched[at] = row
        batch.count += len(ticks) - len(left)
        if ticks:
            batch.last = max(batch.last, ticks[-1][0])
        return left

    def _lacking(self, topic_id: int, stamp: int, tick: Tick, hours: Hours | None) -> Forming | None:
        """The rows that a trade is to be merged into, None if it is to go the long way."""
        session, day_ms = place_of(hours, tick)
        key = (tick.symbol, session)
        known = self._forming.get(key)
        if known is not None and known.lacks(topic_id, stamp, tick, hours):
            return known
        found = self._find(key, tick.event_time, day_ms, hours)
        if found is None or not found.lacks(topic_id, stamp, tick, hours):
            return None
        if len(self._forming) >= _MOST_REMEMBERED:
            self._forming.clear()
        self._forming[key] = found
        return found

    def _find(self, key: Key, event_ms: int, day_ms: int | None, hours: Hours | None) -> Forming | None:
        rows = []
        for interval in INTERVALS_MS:
            start, series = start_in(interval, event_ms, day_ms), self._rows.series(interval, key)
            if start is None:
                return None
            row = series.held.get(start)
            if not isinstance(row, Row) or row.bar is None:
                return None
            rows.append((series, (interval, key, start), row, row.bar))
        begin_ms = window_start(LEDGER, event_ms)
        return Forming(begin_ms, window_end(LEDGER, begin_ms), hours, tuple(rows))
