"""Whole numbers in groups of seven bits, the lowest first, as rows, Avro and ClickHouse's blocks hold them."""

from __future__ import annotations

import struct
from functools import lru_cache

_SHORT = [bytes((byte,)) for byte in range(0x80)]
_TWO = struct.Struct("<H").pack
_TWO_BYTES_BITS = 14


def varint(number: int) -> bytes:
    """A number, not negative."""
    if number < 0x80:
        return _SHORT[number]
    if number < 1 << _TWO_BYTES_BITS:
        return _TWO(number & 0x7F | 0x80 | number << 1 & 0x7F00)
    # Times, ids and versions count: all but the first two bytes stay the same for a while.
    return _TWO(number & 0x7F | number << 1 & 0x7F00 | 0x8080) + _upper(number >> _TWO_BYTES_BITS)


@lru_cache(40_000)
def _upper(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
