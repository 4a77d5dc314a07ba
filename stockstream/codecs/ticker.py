"""The JSON of a producer that polls 24 h tickers, read as it is: a quote with its 24 h figures.

Such records have no ``kind``, and names of their own for the figures of the window: ``open, high, low, volume,
quote_volume, number_trades, price_change, price_change_percent`` beside ``symbol, event_time, price, timestamp``.
Numbers may be text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from stockstream.errors import BadMessage
from stockstream.models import Tick

SOURCE = "ticker_24h"
"""The source of such ticks, so that their times move no other source's clock."""

_TELLING = frozenset({"quote_volume", "number_trades", "price_change", "price_change_percent"})
_SHOWN = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GREATEST_NS = 1e20
# The years from 1973 to 5138 in each of its units: no time that a venue tells can be read in two of them.
_SCALES = ((1e17, 1_000_000), (1e14, 1000), (1e11, 1))
_MOST_TRADES = 2**63


def is_ticker(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a ticker."""
    return "kind" not in record and not _TELLING.isdisjoint(record)


def ticker_tick(record: Mapping[str, Any], key: bytes | None = None) -> Tick:
    """The tick of a ticker; raises `BadMessage`.

    Its symbol is what the record is keyed by, which is what decides its partition: ``symbol`` itself, or that behind
    a source's prefix. ``event_time`` is when it happened, else ``timestamp``, which else is when it was received; each
    in s, ms, us or ns, or as ISO 8601, UTC where it names no zone. A reception that names none is left out: such
    producers write local time.
    """
    symbol = record.get("symbol")
    if not isinstance(symbol, str) or not symbol.isascii():
        raise BadMessage(f"symbol is {ascii(symbol)[:_SHOWN]}: no symbol")
    if key is not None and key.endswith(f":{symbol}".encode()):
        symbol = key.decode(errors="replace")
    price = _number(record, "price")
    if price is None:
        raise BadMessage("price is missing")
    event_ms, received_ms = _time_ms(record, "event_time"), _time_ms(record, "timestamp")
    if event_ms is None:
        event_ms = received_ms
    elif _is_local(record.get("timestamp")):
        received_ms = None
    if event_ms is None:
        raise BadMessage("event_time and timestamp are missing")
    change = _number(record, "price_change")
    trades = _number(record, "number_trades")
    return Tick(
        symbol,
        event_ms,
        price,
        kind="quote",
        producer_timestamp=received_ms or 0,
        source=SOURCE,
        change=change or 0.0,
        change_percent=_number(record, "price_change_percent") or 0.0,
        open_24h=_number(record, "open"),
        high_24h=_number(record, "high"),
        low_24h=_number(record, "low"),
        volume_24h=_number(record, "volume"),
        quote_volume_24h=_number(record, "quote_volume"),
        trades_24h=None if trades is None or not 0 <= trades < _MOST_TRADES else int(trades),
        price_change_24h=change,
    )


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        raise BadMessage(f"{name} is {str(value)[:_SHOWN]!r}: not a number")
    return number


def _time_ms(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value is None:
        return None
    try:
        number = _number(record, name)
    except BadMessage:
        if not isinstance(value, str):
            raise
    else:
        if number is None or not 0 <= number < _GREATEST_NS:
            raise BadMessage(f"{name} is {str(value)[:_SHOWN]!r}: no time")
        return _epoch_ms(number)
    try:
        moment = datetime.fromisoformat(value)
        epoch_ms = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)
        if epoch_ms < 0:
            raise ValueError("before 1970")
        return epoch_ms
    except (ValueError, OverflowError) as error:
        raise BadMessage(f"{name} is {value[:_SHOWN]!r}: no time") from error


def _epoch_ms(number: float) -> int:
    for least, parts in _SCALES:
        if number >= least:
            return int(number // parts)
    return round(number * 1000)


def _is_local(value: object) -> bool:
    """Whether it is a time that names no zone."""
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is None and not value.isdecimal()
    except ValueError:
        return False
