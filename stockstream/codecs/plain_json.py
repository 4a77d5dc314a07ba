"""Ticks as plain JSON objects with the field names of the Avro schema, for producers without a registry."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from stockstream.codecs.ticker import is_ticker, ticker_tick
from stockstream.codecs.version1 import epoch_ms
from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.models.text import is_unicode

_REQUIRED = ("symbol", "price")
_LIMITS = {"int": 2**31, "long": 2**63}


def _no_number(text: str) -> NoReturn:
    raise BadMessage(f"{text} is no JSON number")


def decode_json(value: bytes, key: bytes | None = None) -> Tick:
    """Return the tick of one JSON object; unknown fields are ignored, absent ones take the schema's defaults.

    Raises `BadMessage` if it is no JSON, lacks a symbol, price or time, or holds a value of the wrong type. Without
    ``event_time`` it has the meaning of version 1: its time is ``timestamp`` and a ``day_volume`` of 0 says nothing.
    A 24 h ticker is told by its fields; the ``key`` of the record is its symbol (`ticker.ticker_tick`).
    """
    try:
        record = json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"no JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadMessage("no JSON object")
    if is_ticker(record):
        return ticker_tick(record, key)
    for name in _REQUIRED:
        if name not in record:
            raise BadMessage(f"{name} is missing")
    tick = Tick(*[_checked(name, kind, record.get(name, default)) for name, kind, default in _COLUMNS])
    if "event_time" not in record:
        tick.event_time = epoch_ms(tick.timestamp)
        if tick.day_volume == 0:
            tick.day_volume = -1
    return tick


def _columns() -> list[tuple[str, Any, Any]]:
    columns = []
    for field in fields(Tick):
        default = field.metadata["avro_default"]
        if default is ...:
            default = None if field.default is MISSING else field.default
        columns.append((field.name, field.metadata["avro"], default))
    return columns


_COLUMNS = _columns()


def _checked(name: str, kind: Any, value: Any) -> Any:
    """Return ``value`` as its Avro type; raise `BadMessage` if it has another."""
    if isinstance(kind, list):
        return None if value is None else _checked(name, kind[1], value)
    if isinstance(kind, dict):
        if value in kind["symbols"]:
            return value
    elif kind == "string":
        if isinstance(value, str) and is_unicode(value):
            return value
    elif not isinstance(value, bool):
        if kind == "double" and isinstance(value, float | int):
            return _as_float(name, value)
        if isinstance(value, int) and kind in _LIMITS and -_LIMITS[kind] <= value < _LIMITS[kind]:
            return value
    expected = f"one of {', '.join(kind['symbols'])}" if isinstance(kind, dict) else kind
    raise BadMessage(f"{name} is {str(value)[:40]!r}: not {expected}")


def _as_float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise BadMessage(f"{name} is too large for a number") from error
