"""Columns of ticks reduced to runs of minutes: what `stockstream.core.batch.add_ticks` does, with arrays.

Ticks are put in the order of their groups (symbol and minute), inside of which they keep the order of the log; every
figure of a minute is then a reduction over its stretch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stockstream.core.batch import Batch, add_ticks
from stockstream.core.columns import QUOTE, SNAPSHOT, TRADE, Bools, Columns, Floats, Ints
from stockstream.core.grouping import Groups, grouped
from stockstream.core.interval import DAY_MS, INTERVALS_MS, LEDGER, REGULAR, SESSIONS
from stockstream.core.partial import E8, Cumulative
from stockstream.core.piece import Piece, clock_name
from stockstream.core.runs import Sorted, runs_of, stamped_reader
from stockstream.core.trading import Hours, Trading, places_of
from stockstream.core.verdict import Policy
from stockstream.core.windows import EDGE, Edges, Windows, sums

_MINUTE_MS = INTERVALS_MS[LEDGER]
_GREATEST_SUMMED_SIZE = 1e12  # sums of as many sizes as fit into a batch stay below 2**63


def add_columns(batch: Batch, policy: Policy, trading: Trading, columns: Columns, base: int) -> None:
    """Judge and reduce columns of trades, snapshots and quotes; ``base`` is the stamp of their topic's offset 0.

    Their symbols must be new to the batch. One whose venues have different hours is taken tick by tick.
    """
    hours = [trading.hours(clock_name(*venue)) for venue in columns.venues]
    if any(each is not hours[0] for each in hours):
        columns = _without_mixed(batch, policy, trading, columns, base, hours)
    accepted = policy.accepts(columns)
    for index in np.flatnonzero(~accepted).tolist():
        batch.refused[base + int(columns.offset[index])] = policy.judge(columns.tick(index))
    quotes = columns.kind == QUOTE
    _add_quotes(batch, columns, base, np.flatnonzero(accepted & quotes))
    _add_minutes(batch, columns, base, np.flatnonzero(accepted & ~quotes), hours)
    batch.count += len(columns)
    if len(columns):
        batch.last = max(batch.last, base + int(columns.offset[-1]))


def _without_mixed(
    batch: Batch, policy: Policy, trading: Trading, columns: Columns, base: int, hours: Sequence[Hours | None]
) -> Columns:
    """Add the ticks of symbols that have venues of different hours; returns the others."""
    of_venue = np.array([hours.index(each) for each in hours])[columns.venue]
    of_symbol = np.zeros(len(columns.symbols), np.int64)
    of_symbol[columns.symbol] = of_venue
    is_mixed = np.zeros(len(columns.symbols), np.bool_)
    is_mixed[columns.symbol[of_venue != of_symbol[columns.symbol]]] = True
    apart = is_mixed[columns.symbol]
    if not apart.any():
        return columns
    add_ticks(batch, policy, trading, stamped_reader(columns, base, np.flatnonzero(apart))())
    return columns.of(np.flatnonzero(~apart))


def _place(columns: Columns, chosen: Ints, hours: Sequence[Hours | None]) -> tuple[Ints, Ints]:
    """Of the ticks at ``chosen`` the sessions, as places in `SESSIONS`, and the labels of their trading dates."""
    session = np.zeros(len(chosen), np.int64)
    day_ms = columns.event_time[chosen] // DAY_MS * DAY_MS
    for each in dict.fromkeys(hours):
        if each is not None:
            of_these = np.array([other is each for other in hours])[columns.venue[chosen]]
            session[of_these], day_ms[of_these] = places_of(each, columns, chosen[of_these])
    return session, day_ms


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


def _add_minutes(batch: Batch, columns: Columns, base: int, chosen: Ints, hours: Sequence[Hours | None]) -> None:
    if not len(chosen):
        return
    minute = columns.event_time[chosen] // _MINUTE_MS
    first_minute = int(minute.min())
    session, day_ms = _place(columns, chosen, hours)
    key = columns.symbol[chosen] * len(SESSIONS) + session
    groups = grouped(chosen, key, minute - first_minute)
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
    heads = groups.places[starts]
    minutes = Windows(
        key[heads],
        minute[heads] * _MINUTE_MS,
        day_ms[heads],
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
