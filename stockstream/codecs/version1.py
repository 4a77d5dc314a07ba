"""Version 1 of the tick schema: what its readers and writers must know beyond its field list."""

from __future__ import annotations

import struct
from typing import Any

from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import Tick

_FLOAT32 = struct.Struct("<f")
_INT32_MAX = 2**31 - 1
_TIMESTAMP_DIGITS = 16


def shortest_float32(value: float) -> float:
    """Return the shortest decimal that names the same float32: 189.37 for 189.3699951171875."""
    for digits in range(6, 10):
        candidate = float(f"{value:.{digits}g}")
        if _FLOAT32.unpack(_FLOAT32.pack(candidate))[0] == value:
            return candidate
    return value


def epoch_ms(timestamp: str) -> int:
    """Return the time of a decimal string of epoch milliseconds; raise `BadMessage` if it is none."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS):
        raise BadMessage(f"timestamp {timestamp[:40]!r} is no decimal epoch time in ms")
    return int(timestamp)


def upgrade(tick: Tick) -> Tick:
    """Give a tick that was read from version 1 the meaning of version 2, in place: it is a snapshot.

    A ``day_volume`` of 0 says that the vendor sent none. The floats keep the digits they had as float32.
    """
    tick.event_time = epoch_ms(tick.timestamp)
    tick.kind = "snapshot"
    tick.price = shortest_float32(tick.price)
    tick.change = shortest_float32(tick.change)
    tick.change_percent = shortest_float32(tick.change_percent)
    if tick.day_volume == 0:
        tick.day_volume = -1
    return tick


def downgrade(tick: Tick) -> dict[str, Any]:
    """Return the fields of version 1; numbers that do not fit its 32 bits are written as absent, which is 0.

    Raises `InvalidInput` for quotes and control records: read back as prices they would move candles.
    """
    if tick.kind not in ("trade", "snapshot"):
        raise InvalidInput(f"version 1 of the tick schema cannot carry a {tick.kind!r} record: set tick_schema=2")
    return {
        "symbol": tick.symbol,
        "price": tick.price,
        "timestamp": str(tick.event_time),
        "exchange": tick.exchange,
        "quote_type": tick.quote_type,
        "market_hours": tick.market_hours,
        "change_percent": tick.change_percent,
        "day_volume": tick.day_volume if 0 < tick.day_volume <= _INT32_MAX else 0,
        "change": tick.change,
        "last_size": int(tick.last_size) if tick.last_size <= _INT32_MAX else 0,
        "price_hint": tick.price_hint,
        "producer_timestamp": tick.producer_timestamp,
    }
