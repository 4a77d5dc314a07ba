"""Ticks put into columns without records: what a decoder would make of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stockstream.core.columns import Columns
from stockstream.models import Tick
from stockstream.models.tick import CONTROLS, KINDS

Log = Sequence[tuple[int, Tick]]


def columns_of(log: Log) -> Columns:
    """The columns of (offset, tick)."""
    ticks = [tick for _, tick in log]
    symbols = list(dict.fromkeys(tick.symbol for tick in ticks))
    venues = list(dict.fromkeys((tick.source, tick.exchange) for tick in ticks))

    def ints(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, np.int64)

    return Columns(
        place=np.arange(len(ticks)),
        offset=ints([offset for offset, _ in log]),
        symbol=ints([symbols.index(tick.symbol) for tick in ticks]),
        symbols=symbols,
        venue=ints([venues.index((tick.source, tick.exchange)) for tick in ticks]),
        venues=venues,
        kind=ints([KINDS.index(tick.kind) for tick in ticks]),
        event_time=ints([tick.event_time for tick in ticks]),
        price=np.array([tick.price for tick in ticks], np.float64),
        last_size=np.array([tick.last_size for tick in ticks], np.float64),
        day_volume=ints([tick.day_volume for tick in ticks]),
        trade_id=ints([tick.trade_id for tick in ticks]),
        received=ints([tick.producer_timestamp for tick in ticks]),
        sequence=ints([tick.sequence or 0 for tick in ticks]),
        has_sequence=np.array([tick.sequence is not None for tick in ticks], np.bool_),
        tick=lambda index: ticks[index],
    )


def parted(log: Log) -> tuple[Log, Columns]:
    """What must be taken one by one, being of symbols with control records, and the rest as columns."""
    controlled = {tick.symbol for _, tick in log if tick.kind in CONTROLS}
    return (
        [(at, tick) for at, tick in log if tick.symbol in controlled],
        columns_of([(at, tick) for at, tick in log if tick.symbol not in controlled]),
    )
