"""Ticks as columns: what of them decides a candle, one array a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stockstream.models import Tick
from stockstream.models.tick import KINDS

TRADE, SNAPSHOT, QUOTE, START, GAP, REPAIR = range(len(KINDS))
"""Values of ``kind``: places in `KINDS`."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Columns:
    """Ticks of one partition in the order of their log; every array has one entry a tick.

    ``place`` is where the tick stands in the batch that it was read from, ascending, and ``offset`` its place in the
    log. ``symbol`` is an index into ``symbols``, ``venue`` one into ``venues``, which are (source, exchange).
    ``sequence`` counts where ``has_sequence``. ``received`` is 0 where it is not known. ``tick(i)`` reads the whole of
    the ``i``-th.
    """

    place: Ints
    offset: Ints
    symbol: Ints
    symbols: Sequence[str]
    venue: Ints
    venues: Sequence[tuple[str, str]]
    kind: Ints
    event_time: Ints
    price: Floats
    last_size: Floats
    day_volume: Ints
    trade_id: Ints
    received: Ints
    sequence: Ints
    has_sequence: Bools
    tick: Callable[[int], Tick]

    def of(self, chosen: Ints) -> Columns:
        """The ticks at these indices."""
        return Columns(
            self.place[chosen],
            self.offset[chosen],
            self.symbol[chosen],
            self.symbols,
            self.venue[chosen],
            self.venues,
            self.kind[chosen],
            self.event_time[chosen],
            self.price[chosen],
            self.last_size[chosen],
            self.day_volume[chosen],
            self.trade_id[chosen],
            self.received[chosen],
            self.sequence[chosen],
            self.has_sequence[chosen],
            lambda index: self.tick(int(chosen[index])),
        )

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def received_ms(self) -> Ints:
        """When the ticks reached us, as `Tick.received_ms`."""
        return np.where(self.received == 0, self.event_time, self.received)
