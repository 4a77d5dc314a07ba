"""Columns of ticks reduced to runs of minutes: what `stockstream.core.batch.add_ticks` does, with arrays.

Ticks are put in the order of their groups (symbol and minute), inside of which they keep the order of the log; every
figure of a minute is then a reduction over its stretch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stockstream.core.batch import Batch
from stockstream.core.columns import QUOTE, SNAPSHOT, TRADE, Bools, Columns, Floats, Ints
from stockstream.core.grouping import Groups, grouped
from stockstream.core.interval import INTERVALS_MS, LEDGER, REGULAR
from stockstream.core.partial import E8, Cumulative
from stockstream.core.piece import Piece, clock_name
from stockstream.core.runs import Sorted, runs_of, stamped_reader
from stockstream.core.verdict import Policy
from stockstream.core.windows import EDGE, Edges, Windows, sums

_MINUTE_MS = INTERVALS_MS[LEDGER]
_GREATEST_SUMMED_SIZE = 1e12  # sums of as many sizes as fit into a batch stay below 2**63


def add_columns(batch: Batch, policy: Policy, columns: Columns, base: int) -> None:
    """Judge and reduce columns of trades, snapshots and quotes; ``base`` is the stamp of their topic's offset 0.

    Their symbols must be new to the batch.
    """
    accepted = policy.accepts(columns)
    for index in np.flatnonzero(~accepted).tolist():
        batch.refused[base + int(columns.offset[index])] = policy.judge(columns.tick(index))
    quotes = columns.kind == QUOTE
    _add_quotes(batch, columns, base, np.flatnonzero(accepted & quotes))
    _add_minutes(batch, columns, base, np.flatnonzero(accepted & ~quotes))
    batch.count += len(columns)
    if len(columns):
        batch.last = max(batch.last, base + int(columns.offset[-1]))


def _add_quotes(batch: Batch, columns: Columns, base: int, chosen: Ints) -> None:
    if not len(chosen):
        return
    groups = grouped(chosen, columns.symbol[chosen])
    reached = np.minimum(columns.event_time, columns.received_ms)
    for begin, end in zip(groups.starts.tolist(), groups.ends.tolist(), strict=True):
        indices = groups.order[begin:end]
        clocks: dict[str, int] = {}
        for venue in dict.fromkeys(columns.venue[indices].tolist()):
            moved = reached[indices[columns.venue[indices] == venue]]
            name = clock_name(*columns.venues[venue])
            clocks[name] = max(int(moved.max()), clocks.get(name, 0))
        key = (columns.symbols[int(columns.symbol[indices[0]])], REGULAR)
        batch.quotes[key] = Piece(stamped_reader(columns, base, indices), list(clocks.items()))


def _add_minutes(batch: Batch, columns: Columns, base: int, chosen: Ints) -> None:
    if not len(chosen):
        return
    minute = columns.event_time[chosen] // _MINUTE_MS
    first_minute = int(minute.min())
    groups = grouped(chosen, columns.symbol[chosen], minute - first_minute)
    order, starts = groups.order, groups.starts
    price, size = columns.price[order], columns.last_size[order]
    venue = columns.venue[order]
    is_trade = columns.kind[order] == TRADE
    ids = _Ids.of(groups, columns, is_trade)
    mixed = np.zeros(len(order), np.bool_)
    mixed[1:] = groups.same() & (venue[1:] != venue[:-1])
    odd = groups.any(mixed | (size > _GREATEST_SUMMED_SIZE)) | ids.unsuited
    opens, closes = _edges(groups, columns, base, is_trade, price)
    sold = np.where(is_trade, size, 0.0)
    whole = np.floor(sold)
    turnover, turnover_low = sums(starts, np.where(is_trade, price * size, 0.0))
    stamps = columns.offset[order] + base
    heads = order[starts]
    minutes = Windows(
        columns.symbol[heads],
        columns.event_time[heads] // _MINUTE_MS * _MINUTE_MS,
        odd,
        starts,
        groups.ends,
        stamps[starts],
        stamps[groups.ends - 1],
        venue[starts],
        np.maximum.reduceat(np.minimum(columns.event_time, columns.received_ms)[order], starts),
        opens,
        closes,
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        np.add.reduceat(np.minimum(whole, _GREATEST_SUMMED_SIZE).astype(np.int64), starts),
        np.add.reduceat(np.rint((sold - whole) * E8).astype(np.int64), starts),
        turnover,
        turnover_low,
        np.add.reduceat(is_trade, starts, dtype=np.int64),
        _cumulative(groups, columns, stamps),
        list(ids.ranges()),
    )
    ticks = Sorted(columns, base, order, [clock_name(*venue) for venue in columns.venues])
    batch.runs.update((run.key, run) for run in runs_of(minutes, ticks))


@dataclass(frozen=True, slots=True)
class _Ids:
    """The trade ids of groups as ranges. ``unsuited``: those of a group do not ascend with the log."""

    unsuited: Bools
    _bounds: list[int]
    _begins: list[int]

    @classmethod
    def of(cls, groups: Groups, columns: Columns, is_trade: Bools) -> _Ids:
        """``is_trade`` is in the order of the groups."""
        count = len(groups.starts)
        trade_id = columns.trade_id[groups.order]
        chosen = np.flatnonzero(is_trade & (trade_id >= 0))
        unsuited = np.zeros(count, np.bool_)
        if not len(chosen):
            return cls(unsuited, [], [0] * (count + 1))
        group, known = np.repeat(np.arange(count), groups.ends - groups.starts)[chosen], trade_id[chosen]
        same, step = group[1:] == group[:-1], known[1:] - known[:-1]
        unsuited[group[1:][same & (step <= 0)]] = True
        firsts = np.concatenate([[0], np.flatnonzero(~(same & (step == 1))) + 1])
        lasts = np.append(firsts[1:], len(chosen)) - 1
        bounds = np.column_stack([known[firsts], known[lasts]]).ravel()
        begins = 2 * np.searchsorted(group[firsts], np.arange(count + 1))
        return cls(unsuited, bounds.tolist(), begins.tolist())

    def ranges(self) -> Iterator[list[int]]:
        """First, last, first, last, … of each group."""
        return (self._bounds[begin:end] for begin, end in pairwise(self._begins))


def _edges(groups: Groups, columns: Columns, base: int, is_trade: Bools, price: Floats) -> tuple[Edges, Edges]:
    """The first and the last tick of each group, by time and what orders ticks of one time."""
    order = groups.order
    time, offset, trade_id = columns.event_time[order], columns.offset[order], columns.trade_id[order]
    rank = np.where(columns.has_sequence[order], columns.sequence[order], trade_id)
    rank = np.where(columns.has_sequence[order] | (trade_id >= 0), rank, offset + base)
    rank = np.where(is_trade, rank, columns.day_volume[order])
    received = np.where(is_trade, 0, columns.received_ms[order])
    rising = (time[1:] > time[:-1]) | ((time[1:] == time[:-1]) & (rank[1:] > rank[:-1]))
    falls = np.zeros(len(order), np.bool_)
    falls[1:] = groups.same() & ~rising
    first, last = groups.starts, groups.ends - 1
    disordered = groups.any(falls)
    if disordered.any():
        first, last = first.copy(), last.copy()
        group = np.repeat(np.arange(len(first)), groups.ends - groups.starts)
        chosen = np.flatnonzero(disordered[group])
        keys = (price[chosen], received[chosen], rank[chosen], time[chosen], group[chosen])
        ordered = chosen[np.lexsort(keys)]
        ends = np.cumsum((groups.ends - groups.starts)[disordered])
        last[disordered] = ordered[ends - 1]
        first[disordered] = ordered[np.concatenate([[0], ends[:-1]])]
    edges = np.empty(2 * len(first), EDGE)
    at = np.concatenate((first, last))
    edges["time"], edges["order"], edges["received"], edges["price"] = time[at], rank[at], received[at], price[at]
    return edges[: len(first)], edges[len(first) :]


def _cumulative(groups: Groups, columns: Columns, stamps: Ints) -> list[Cumulative | None]:
    """What each group's snapshots say of their vendor's cumulative volume."""
    found: list[Cumulative | None] = [None] * len(groups.starts)
    volume = columns.day_volume[groups.order]
    chosen = np.flatnonzero((columns.kind[groups.order] == SNAPSHOT) & (volume >= 0))
    if not len(chosen):
        return found
    group = np.repeat(np.arange(len(found)), groups.ends - groups.starts)[chosen]
    time, volume, stamps = columns.event_time[groups.order][chosen], volume[chosen], stamps[chosen]
    # Of the same value seen twice the earlier place counts: it comes last here.
    ordered = np.lexsort((-stamps, volume, time, group))
    starts = np.concatenate([[0], np.flatnonzero(group[1:] != group[:-1]) + 1])
    first, last = ordered[starts], ordered[np.append(starts[1:], len(chosen)) - 1]
    for which, *values in zip(
        group[starts].tolist(),
        time[first].tolist(),
        volume[first].tolist(),
        time[last].tolist(),
        volume[last].tolist(),
        np.maximum.reduceat(volume, starts).tolist(),
        stamps[last].tolist(),
        strict=True,
    ):
        since, opened, until, closed, peak, stamp = values
        found[which] = Cumulative((since, opened), (until, closed), peak, stamp)
    return found
