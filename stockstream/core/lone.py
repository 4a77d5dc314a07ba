"""Trades taken by themselves: one that lies ahead of all that its rows have seen is merged into them right away.

Live, a fetch brings one or two ticks of each of many symbols, and nearly all are of this kind: a new trade in windows
that are open already. The long way, by pieces of minutes, would find just the same. A trade is taken this way only
where that is sure; every other goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from stockstream.core.batch import Batch, session_of
from stockstream.core.interval import INTERVALS_MS, window_start
from stockstream.core.merge import forget_duplicates
from stockstream.core.partial import Partial
from stockstream.core.piece import Stamped, clock_of
from stockstream.core.row import Row
from stockstream.core.rows import Address, Key, Rows, Series
from stockstream.core.verdict import Policy
from stockstream.core.watermark import Clocks
from stockstream.models import Tick, Verdict

Forming = tuple[int, Row, Partial]
"""A window's start, its row, and the row's bar."""


class LoneTrades:
    """Merges the trades of a batch that it can into the rows of every interval, and moves their clocks."""

    def __init__(self, rows: Rows, policy: Policy, clocks: Clocks) -> None:
        self._rows = rows
        self._policy = policy
        self._clocks = clocks
        self._series: dict[Key, list[Series]] = {}

    def take(
        self,
        topic_id: int,
        ticks: Sequence[Stamped],
        now_ms: int,
        committed: int | None,
        batch: Batch,
        touched: dict[Address, None],
    ) -> list[Stamped]:
        """Merge the trades that lie ahead of their rows; returns all others, and what follows of their symbols.

        The arguments are those of `Engine.apply`; the rows that were merged into are added to ``touched``.
        """
        others, left = set[Key](), []
        for stamped in ticks:
            stamp, tick = stamped
            if tick.kind == "trade":
                key = (tick.symbol, session_of(tick))
                # Judged first: of what can be no symbol nothing may be remembered.
                if key not in others and self._policy.judge(tick) is Verdict.ACCEPTED:
                    series = self._series_of(key)
                    forming = _forming(series, tick.event_time)
                    if len(forming) == len(series) and _is_new(topic_id, stamp, tick, forming):
                        self._clocks.move(*clock_of(tick), now_ms)
                        forget_duplicates(forming[0][1], committed)
                        _merge(forming, stamp, tick)
                        for each, (start, row, _) in zip(series, forming, strict=True):
                            each.put(start, row)
                            touched[each.interval, key, start] = None
                        continue
                others.add(key)
            elif tick.kind == "snapshot":
                others.add((tick.symbol, session_of(tick)))
            left.append(stamped)
        batch.count += len(ticks) - len(left)
        if ticks:
            batch.last = max(batch.last, ticks[-1][0])
        return left

    def _series_of(self, key: Key) -> list[Series]:
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = [self._rows.series(interval, key) for interval in INTERVALS_MS]
        return found


def _forming(series: Sequence[Series], event_ms: int) -> list[Forming]:
    """The rows of the windows that hold ``event_ms``, as far as they are at hand, open, and the newest.

    Ticks of an earlier window may have come too late to be kept.
    """
    found = []
    for each in series:
        start = window_start(each.interval, event_ms)
        row = each.held.get(start)
        if isinstance(row, Row) and row.bar is not None and not row.closed and each.starts[-1] == start:
            found.append((start, row, row.bar))
    return found


def _is_new(topic_id: int, stamp: int, tick: Tick, forming: Sequence[Forming]) -> bool:
    """Whether none of the rows, the ledger's first, has seen the trade at ``stamp``, nor its id."""
    for _, row, _ in forming:
        if row.stamp >= stamp or row.topic_id != topic_id:
            return False
    seen = forming[0][1].ids.bounds
    return tick.trade_id < 0 or not seen or tick.trade_id > seen[-1]


def _merge(forming: Sequence[Forming], stamp: int, tick: Tick) -> None:
    if tick.trade_id >= 0:
        forming[0][1].ids.add(tick.trade_id)
    part = Partial.of(tick, stamp)
    for _, row, bar in forming:
        row.stamp = stamp
        bar.merge(part)
