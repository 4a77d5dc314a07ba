"""The latest price: the greatest (event time, sequence) wins, whatever order ticks come in."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from stockstream.core.columns import Columns, Ints
from stockstream.core.interval import EXTENDED, REGULAR
from stockstream.core.row import candle_version
from stockstream.models import Latest, Tick

_REGULAR_HOURS = 1
_RANK = struct.Struct("<qqqd")


Rank = tuple[int, int, int, float]
"""(event time, order, received, price): the greatest wins."""


def rank_of(tick: Tick) -> Rank:
    """What orders a tick among those of its symbol, and prices."""
    order = tick.sequence if tick.sequence is not None else tick.trade_id
    return tick.event_time, order, tick.received_ms, tick.price


def newest_of(columns: Columns, chosen: Ints) -> list[int]:
    """Of the ticks at these ascending indices the one of each symbol that ranks highest, of equals the first."""
    if not len(chosen):
        return []
    symbol, time = columns.symbol[chosen], columns.event_time[chosen]
    top = np.zeros(int(symbol.max()) + 1, np.int64)
    np.maximum.at(top, symbol, time)
    last = chosen[time == top[symbol]]
    order = np.where(columns.has_sequence[last], columns.sequence[last], columns.trade_id[last])
    ranks: Iterator[Rank] = zip(
        columns.event_time[last].tolist(),
        order.tolist(),
        columns.received_ms[last].tolist(),
        columns.price[last].tolist(),
        strict=True,
    )
    found: dict[int, tuple[Rank, int]] = {}
    for index, name, arriving in zip(last.tolist(), columns.symbol[last].tolist(), ranks, strict=True):
        known = found.get(name)
        if known is None or arriving > known[0]:
            found[name] = arriving, index
    return [index for _, index in found.values()]


def latest_of(tick: Tick, stamp: int) -> Latest:
    """What a trade, snapshot or quote found at ``stamp`` in the log says of its symbol's price."""
    order = tick.sequence if tick.sequence is not None else tick.trade_id
    session = REGULAR if tick.market_hours == _REGULAR_HOURS else EXTENDED
    return Latest(  # by place: naming fifteen fields takes as long again
        tick.symbol, tick.price, tick.change, tick.change_percent, session, tick.event_time, tick.received_ms, order,
        candle_version(stamp, closed=False), tick.source, tick.exchange, tick.currency, tick.bid, tick.ask,
        tick.day_volume,
    )  # fmt: skip


def is_later(arriving: Rank, stored: bytes | None) -> bool:
    """Whether a price replaces a stored one; a price never goes back, and an equal one changes nothing."""
    return stored is None or arriving > _RANK.unpack_from(stored)


def is_as_late(stored: bytes, arriving: bytes) -> bool:
    """Whether of two stored states of one price ``arriving`` is the later one, or the same."""
    return bool(_RANK.unpack_from(arriving) >= _RANK.unpack_from(stored))


def encode_row(rank: Rank, published: bytes) -> bytes:
    """The stored bytes: what orders prices, then the price as it is published, so that it need not be decoded."""
    return _RANK.pack(*rank) + published


def published_part(row: bytes) -> bytes:
    """The price of stored bytes as it is published."""
    return row[_RANK.size :]
