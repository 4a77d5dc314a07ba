"""What a set of ticks of one window amounts to: a commutative, associative summary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from stockstream.models import Tick

E8 = 10**8

Real = TypeVar("Real", float, NDArray[np.float64])

Edge = tuple[int, int, int, float]
"""Orders the ticks of a window: (event time, order, received, price). Trades are ordered by their sequence, else
their id, else their place in the log; snapshots by their cumulative volume and reception."""


def size_e8(size: float) -> int:
    """A size in units of 1e-8, exact for every double that has 8 decimals."""
    whole = int(size)
    return whole * E8 + round((size - whole) * E8)


def decimal_text(amount_e8: int) -> str:
    """An amount in units of 1e-8 as a decimal without trailing zeros."""
    whole, fraction = divmod(amount_e8, E8)
    return f"{whole}.{fraction:08d}".rstrip("0").rstrip(".")


def two_sum(hi: Real, lo: Real, value: Real) -> tuple[Real, Real]:
    """Add to a double-double sum; the order of additions then shows only beyond 30 digits (Knuth's TwoSum)."""
    total = hi + value
    part = total - hi
    return total, lo + ((hi - (total - part)) + (value - part))


@dataclass(slots=True)
class Cumulative:
    """First, last and greatest cumulative volume of a window; ``stamp`` is where the log gave the last one.

    ``first`` and ``last`` are (event time ms, cumulative).
    """

    first: tuple[int, int]
    last: tuple[int, int]
    peak: int
    stamp: int

    def merge(self, other: Cumulative) -> None:
        """Take in what another part of the same window saw."""
        self.first = min(self.first, other.first)
        self.peak = max(self.peak, other.peak)
        if other.last > self.last:
            self.last, self.stamp = other.last, other.stamp
        elif other.last == self.last:
            self.stamp = min(self.stamp, other.stamp)


@dataclass(slots=True)
class Partial:
    """Open, high, low, close and volume of any part of a window's ticks.

    ``volume_e8`` is the sum of sizes in units of 1e-8; ``turnover`` the double-double sum of price × size;
    ``trades`` counts trades, snapshots count for nothing.
    """

    first: Edge
    last: Edge
    high: float
    low: float
    volume_e8: int = 0
    turnover: float = 0.0
    turnover_low: float = 0.0
    trades: int = 0
    cumulative: Cumulative | None = None

    @classmethod
    def of(cls, tick: Tick, stamp: int) -> Self:
        """The summary of one trade or snapshot found at ``stamp`` in the log."""
        price = tick.price
        if tick.kind == "trade":
            order = tick.sequence if tick.sequence is not None else tick.trade_id if tick.trade_id >= 0 else stamp
            edge = (tick.event_time, order, 0, price)
            return cls(edge, edge, price, price, size_e8(tick.last_size), price * tick.last_size, 0.0, 1)
        edge = (tick.event_time, tick.day_volume, tick.received_ms, price)
        seen = None
        if tick.day_volume >= 0:
            point = (tick.event_time, tick.day_volume)
            seen = Cumulative(point, point, tick.day_volume, stamp)
        return cls(edge, edge, price, price, cumulative=seen)

    def merge(self, other: Partial) -> None:
        """Take in another part of the same window, which stays as it is."""
        if other.first < self.first:
            self.first = other.first
        if other.last > self.last:
            self.last = other.last
        if other.high > self.high:
            self.high = other.high
        if other.low < self.low:
            self.low = other.low
        self.volume_e8 += other.volume_e8
        self.turnover, low = two_sum(self.turnover, self.turnover_low, other.turnover)
        self.turnover_low = low + other.turnover_low
        self.trades += other.trades
        if other.cumulative is not None:
            if self.cumulative is None:
                self.cumulative = replace(other.cumulative)
            else:
                self.cumulative.merge(other.cumulative)

    def copy(self) -> Partial:
        """An independent copy."""
        seen = self.cumulative
        return Partial(
            self.first, self.last, self.high, self.low, self.volume_e8, self.turnover, self.turnover_low, self.trades,
            None if seen is None else replace(seen),
        )  # fmt: skip

    @property
    def vwap(self) -> float | None:
        """Volume-weighted average price, within ``[low, high]``; None without traded volume."""
        return vwap_of(self.high, self.low, self.volume_e8, self.turnover + self.turnover_low)


def vwap_of(high: float, low: float, volume_e8: int, turnover: float) -> float | None:
    """As `Partial.vwap`."""
    if not volume_e8:
        return None
    mean = turnover / (volume_e8 / E8)
    return low if mean < low else min(high, mean)


def fold(ticks: list[tuple[int, Tick]]) -> Partial | None:
    """The summary of (stamp, tick) pairs of one window; None for none."""
    whole: Partial | None = None
    for stamp, tick in ticks:
        part = Partial.of(tick, stamp)
        if whole is None:
            whole = part
        else:
            whole.merge(part)
    return whole
