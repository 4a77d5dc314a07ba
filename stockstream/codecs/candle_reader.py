"""Candles from the bytes of their schema, read by hand where it can be: a third of the time of a general reader.

Names, bounds and flags are mostly the same bytes as in states before, and are looked up. Whatever is not plain to see
(long names, no volume, damaged bytes) is left to the general reader, which also has the words for errors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from itertools import product

from stockstream.codecs.hot import UNREADABLE, read_long, text_end
from stockstream.models import Candle
from stockstream.models.candle import STATES, State

_FIGURES = struct.Struct("<4dBdBdB")
_PRESENT = 2
_BOUNDS_BYTES = 12  # of two times between 1970-07 and 2039
_MOST_REMEMBERED = 20_000
_CLOSED = {0: False, 1: True}
_FLAGS: dict[bytes, tuple[bool, bool, bool, State]] = {
    bytes((partial, gap, corrected, 2 * STATES.index(state))): (partial, gap, corrected, state)
    for partial, gap, corrected, state in product((False, True), (False, True), (False, True), STATES)
}


class CandleReader:
    """Reads the body of a record that was written with our own schema; called with a stream, it is ``whole``."""

    def __init__(self, whole: Callable[[BytesIO], Candle]) -> None:
        self._whole = whole
        self._names: dict[bytes, tuple[str, str, str]] = {}
        self._bounds: dict[bytes, tuple[int, int]] = {}

    def __call__(self, stream: BytesIO) -> Candle:
        """Read the whole record with the general reader."""
        return self._whole(stream)

    def quick(self, value: bytes, start: int) -> Candle | None:
        """The candle whose body begins at ``start`` of ``value``; None if the general reader should see to it."""
        try:
            return self._quick(value, start)
        except UNREADABLE:
            return None

    def _quick(self, value: bytes, start: int) -> Candle:
        interval_at = start + 1 + (value[start] >> 1)
        session_at = interval_at + 1 + (value[interval_at] >> 1)
        pos = session_at + 1 + (value[session_at] >> 1)
        symbol, interval, session = self._names.get(value[start:pos]) or self._read_names(value, start)
        (begins, ends), pos = self._read_bounds(value, pos)
        open_, high, low, close, has_volume, volume, has_vwap, vwap, has_trades = _FIGURES.unpack_from(value, pos)
        if not has_volume == has_vwap == has_trades == _PRESENT:
            raise ValueError("not of trades")
        trades, pos = read_long(value, pos + _FIGURES.size)
        closed = _CLOSED[value[pos]]
        version, pos = read_long(value, pos + 1)
        (opens, closes), pos = self._read_bounds(value, pos)
        partial, gap, corrected, state = _FLAGS[value[pos:]]
        return Candle(
            symbol, interval, session, begins, ends, open_, high, low, close, volume, vwap, trades,
            closed, version, opens, closes, partial, gap, corrected, state,
        )  # fmt: skip

    def _read_names(self, value: bytes, start: int) -> tuple[str, str, str]:
        texts, pos = [], start
        for _ in range(3):
            end = text_end(value, pos)
            texts.append(value[pos + 1 : end].decode())
            pos = end
        if len(self._names) >= _MOST_REMEMBERED:
            self._names.clear()
        names = self._names[value[start:pos]] = texts[0], texts[1], texts[2]
        return names

    def _read_bounds(self, value: bytes, pos: int) -> tuple[tuple[int, int], int]:
        """Two times, and where they end."""
        end = pos + _BOUNDS_BYTES
        known = self._bounds.get(value[pos:end])
        if known is not None:
            return known, end
        begins, between = read_long(value, pos)
        ends, after = read_long(value, between)
        if after == end:
            if len(self._bounds) >= _MOST_REMEMBERED:
                self._bounds.clear()
            self._bounds[value[pos:end]] = begins, ends
        return (begins, ends), after
