"""The fields at a record's end that may be null, written by hand: fastavro is slow to find out that None is one."""

from __future__ import annotations

import struct
from collections.abc import Callable

from stockstream.core.varint import varint as unsigned
from stockstream.models.schema import AvroSchema

_DOUBLE = struct.Struct("<d")
_NULL, _PRESENT = b"\0", b"\2"

Written = Callable[[object], bytes]


def optional_tail(fields: list[AvroSchema]) -> tuple[int, tuple[Written, ...]]:
    """How many fields come before the tail, and what writes each field of it.

    The tail are the last fields of type ``["null", T]`` whose T is a double, a long or a string.
    """
    tail: list[Written] = []
    for field in reversed(fields):
        kind = field["type"]
        written = _WRITTEN.get(kind[1]) if isinstance(kind, list) and len(kind) == 2 and kind[0] == "null" else None
        if written is None:
            break
        tail.insert(0, written)
    return len(fields) - len(tail), tuple(tail)


def _double(value: object) -> bytes:
    return _NULL if value is None else _PRESENT + _DOUBLE.pack(value)


def _long(value: object) -> bytes:
    return _NULL if value is None else _PRESENT + varint(value)


def _text(value: object) -> bytes:
    return _NULL if value is None else _PRESENT + text(value)


def text(value: object) -> bytes:
    """An Avro string; raises `TypeError` for anything but a text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    data = value.encode()
    return varint(len(data)) + data


def varint(value: object) -> bytes:
    """An Avro int or long; raises `OverflowError` for anything but an integer of 64 bits."""
    if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value!r} is no integer of 64 bits")
    return unsigned(value << 1 ^ value >> 63)


_WRITTEN: dict[object, Written] = {"double": _double, "long": _long, "string": _text}
