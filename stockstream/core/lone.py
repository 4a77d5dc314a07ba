"""Trades taken by themselves: one that lies ahead of all that its rows have seen is merged into them right away.

Live, a fetch brings one or two ticks of each of many symbols, and nearly all are of this kind: a new trade in windows
that are open already. The long way, by pieces of minutes, would find just the same. A trade is taken this way only
where that is sure; every other goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from stockstream.core.partial import Partial, size_e8, two_sum
from stockstream.core.row import Row
from stockstream.core.rows import Series
from stockstream.models import Tick

Forming = tuple[int, Row, Partial]
"""A window's start, its row, and the row's bar."""


def forming_rows(series: Sequence[Series], lengths_ms: Sequence[int], event_ms: int) -> list[Forming]:
    """The rows of the windows that hold ``event_ms``, as far as they are at hand, open, and the newest.

    Ticks of an earlier window may have come too late to be kept.
    """
    found = []
    for each, length_ms in zip(series, lengths_ms, strict=True):
        start = event_ms - event_ms % length_ms
        row = each.held.get(start)
        if isinstance(row, Row) and row.bar is not None and not row.closed and each.starts[-1] == start:
            found.append((start, row, row.bar))
    return found


def is_new(topic_id: int, stamp: int, tick: Tick, forming: Sequence[Forming]) -> bool:
    """Whether none of the rows, the ledger's first, has seen the trade at ``stamp``, nor its id."""
    for _, row, _ in forming:
        if row.stamp >= stamp or row.topic_id != topic_id:
            return False
    seen = forming[0][1].ids.bounds
    return tick.trade_id < 0 or not seen or tick.trade_id > seen[-1]


def merge_trade(forming: Sequence[Forming], stamp: int, tick: Tick) -> None:
    """Merge a trade that the rows have not seen: what `Partial.of` and `Partial.merge` make of it."""
    price, size = tick.price, tick.last_size
    order = tick.sequence if tick.sequence is not None else tick.trade_id if tick.trade_id >= 0 else stamp
    edge, volume_e8, turnover = (tick.event_time, order, 0, price), size_e8(size), price * size
    if tick.trade_id >= 0:
        forming[0][1].ids.add(tick.trade_id)
    for _, row, bar in forming:
        row.stamp = stamp
        if edge > bar.last:
            bar.last = edge
        elif edge < bar.first:
            bar.first = edge
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.volume_e8 += volume_e8
        bar.turnover, bar.turnover_low = two_sum(bar.turnover, bar.turnover_low, turnover)
        bar.trades += 1
