"""Windows of one length, of all symbols of a batch, as columns: what their ticks come to; rolled up to longer ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import Bools, Floats, Ints
from stockstream.core.interval import DAILY, INTERVALS_MS
from stockstream.core.partial import E8, Cumulative, Edge, Partial, two_sum
from stockstream.core.trading import NO_DATE

Edges = NDArray[Any]
"""`Edge` as columns, of the type `EDGE`."""

_FEW = 4

EDGE = np.dtype([("time", "<i8"), ("order", "<i8"), ("received", "<i8"), ("price", "<f8")])


class Figures(NamedTuple):
    """What the ticks of one symbol and window come to.

    ``begin`` and ``end`` are where they stand in the order of symbols and minutes; ``first`` and ``last`` their stamps
    at both ends. ``is_odd``: they have to be looked at one by one, for their ids do not ascend, or venues take turns.
    ``day_ms`` is the label of their trading date, `NO_DATE` for none. ``ids`` are ranges of trade ids, kept by minutes
    only.
    """

    start_ms: int
    day_ms: int
    is_odd: bool
    begin: int
    end: int
    first: int
    last: int
    venue: int
    reached_ms: int
    open: Edge
    close: Edge
    high: float
    low: float
    units: int
    rest_e8: int
    turnover: float
    turnover_low: float
    trades: int
    cumulative: Cumulative | None
    ids: list[int]

    @property
    def partial(self) -> Partial:
        """The summary of them."""
        return Partial(
            self.open, self.close, self.high, self.low, self.units * E8 + self.rest_e8, self.turnover,
            self.turnover_low, self.trades, self.cumulative,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Windows:
    """The fields of `Figures`, one entry a window, key by key, and of each key ascending.

    ``key`` is an index into symbols times the number of sessions, and one into `SESSIONS`.
    """

    key: Ints
    start_ms: Ints
    day_ms: Ints
    is_odd: Bools
    begin: Ints
    end: Ints
    first: Ints
    last: Ints
    venue: Ints
    reached_ms: Ints
    open: Edges
    close: Edges
    high: Floats
    low: Floats
    units: Ints
    rest_e8: Ints
    turnover: Floats
    turnover_low: Floats
    trades: Ints
    cumulative: Sequence[Cumulative | None]
    ids: Sequence[list[int]]

    def _reader(self, keys: int) -> Callable[[int], Figures]:
        """Reads the figures at an index; of few windows a key all are asked for, so all are read at once."""
        columns: list[Any] = [getattr(self, name) for name in Figures._fields]
        if len(self.start_ms) <= _FEW * keys:
            lists = (column.tolist() if isinstance(column, np.ndarray) else column for column in columns)
            return list(map(Figures._make, zip(*lists, strict=True))).__getitem__
        items = [column.item if isinstance(column, np.ndarray) else column.__getitem__ for column in columns]
        return lambda at: Figures._make([item(at) for item in items])

    def of(self, chosen: Ints) -> Windows:
        """Those at these indices."""
        return Windows(*[_chosen(getattr(self, name), chosen) for name in self.__slots__])

    def plain(self) -> Bools:
        """Which hold nothing but trades, of one venue and date, that need not be looked at one by one."""
        plain: Bools = ~self.is_odd & (self.trades == self.end - self.begin) & (self.day_ms != NO_DATE)
        return plain

    def of_keys(self) -> Iterator[Stretch]:
        """The windows of each key."""
        starts = _starts(self.key)
        read, starts_ms = self._reader(len(starts)), self.start_ms.tolist()
        for begin, end in pairwise(np.append(starts, len(self.key)).tolist()):
            yield Stretch(self, begin, end, starts_ms, read)

    def rolled_up(self, interval: str) -> Windows:
        """Those of a longer interval. Only what is plain is right: cumulative volume is left out."""
        length_ms = INTERVALS_MS[interval]
        start_ms = self.day_ms if interval == DAILY else self.start_ms // length_ms * length_ms
        starts = _starts(self.key, start_ms)
        lasts = np.append(starts[1:], len(start_ms)) - 1
        turnover, low = sums(starts, self.turnover)
        turnover, low = two_sum(turnover, low, np.add.reduceat(self.turnover_low, starts))
        one_venue = np.minimum.reduceat(self.venue, starts) == np.maximum.reduceat(self.venue, starts)
        return Windows(
            self.key[starts],
            start_ms[starts],
            self.day_ms[starts],
            ~(np.logical_and.reduceat(self.plain(), starts) & one_venue),
            self.begin[starts],
            self.end[lasts],
            np.minimum.reduceat(self.first, starts),
            np.maximum.reduceat(self.last, starts),
            self.venue[starts],
            np.maximum.reduceat(self.reached_ms, starts),
            self.open[starts],
            self.close[lasts],
            np.maximum.reduceat(self.high, starts),
            np.minimum.reduceat(self.low, starts),
            np.add.reduceat(self.units, starts),
            np.add.reduceat(self.rest_e8, starts),
            turnover,
            low,
            np.add.reduceat(self.trades, starts),
            [None] * len(starts),
            [[]] * len(starts),
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """The windows of one key, ascending, at least one: those of ``columns`` from ``begin`` up to ``end``.

    The figures of one are read when it is asked for; most windows of a backlog are never looked at by themselves.
    """

    columns: Windows
    begin: int
    end: int
    _starts_ms: list[int]
    _read: Callable[[int], Figures]

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, index: int) -> Figures:
        """The window at ``index``, not negative."""
        if self.begin + index >= self.end:
            raise IndexError(f"there are {len(self)} windows")
        return self._read(self.begin + index)

    def __iter__(self) -> Iterator[Figures]:
        return map(self._read, range(self.begin, self.end))

    def start_ms(self, index: int) -> int:
        """Where that window starts."""
        return self._starts_ms[self.begin + index]

    @property
    def last_start_ms(self) -> int:
        """Where the last one starts."""
        return self._starts_ms[self.end - 1]


def _chosen(column: Any, chosen: Ints) -> Any:
    return column[chosen] if isinstance(column, np.ndarray) else [column[at] for at in chosen.tolist()]


def _starts(*keys: Ints) -> Ints:
    """Where a stretch of equal ``keys`` begins."""
    changes = np.zeros(len(keys[0]) - 1, np.bool_)
    for key in keys:
        changes |= key[1:] != key[:-1]
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def sums(starts: Ints, values: Floats) -> tuple[Floats, Floats]:
    """The sum of each stretch of values, none negative, as a double and what it lacks.

    Twice the leading bits are split off, so few of them that their sums are exact (Rump's extraction); what is left is
    too small for the rounding of its sum to matter.
    """
    lengths = np.append(starts[1:], len(values)) - starts
    _, exponent = np.frexp(np.maximum.reduceat(values, starts))
    bits = len(values).bit_length() + 1
    parts = []
    for _ in range(2):
        unit = np.repeat(np.ldexp(1.0, exponent + bits), lengths)
        leading = (unit + values) - unit
        parts.append(np.add.reduceat(leading, starts))
        values = values - leading
        exponent = exponent + bits - 53
    total, low = two_sum(parts[0], np.zeros(len(starts)), parts[1])
    return two_sum(total, np.zeros(len(starts)), low + np.add.reduceat(values, starts))
