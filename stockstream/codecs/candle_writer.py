"""Candles to the bytes of their schema, written by hand: a seventh of the time of a general writer.

A candle is written again and again while it forms. Its names, its bounds and its flags are looked up, and so are the
upper bits of its version, which counts the records of a log. What differs from state to state is packed here.
"""

from __future__ import annotations

import struct
from operator import index

from stockstream.codecs.optional import optional_tail, text, varint
from stockstream.codecs.remembered import Remembered
from stockstream.models import CANDLE_SCHEMA, Candle
from stockstream.models.candle import STATES

ORDER = (
    *("symbol", "interval", "session", "window_start", "window_end", "open", "high", "low", "close", "volume", "vwap"),
    *("trades", "is_closed", "version", "session_open", "session_close", "partial", "gap", "corrected", "state"),
)
_PRICES = struct.Struct("<4d").pack
_PRICES_AND_AMOUNTS = struct.Struct("<4dBdBdB").pack
_PRESENT = 2
_LOW_BITS = 13  # of a version: the first two bytes of those that it is written in
_LOW = struct.Struct("<H").pack
_FALSE, _TRUE = b"\0", b"\1"


class CandleWriter:
    """Writes ``header`` and the body of a candle.

    Raises one of `stockstream.codecs.tick_writer.UNFIT` for what only a general writer may judge.
    """

    def __init__(self, header: bytes) -> None:
        fields = CANDLE_SCHEMA["fields"]
        if tuple(field["name"] for field in fields) != ORDER:
            raise RuntimeError("the order of the candle schema's fields has changed")
        _, self._amounts = optional_tail(fields[ORDER.index("volume") : ORDER.index("trades") + 1])
        self._names = Remembered[tuple[str, str, str]](lambda names: header + b"".join(map(text, names)))
        self._bounds = Remembered[tuple[int, int]](lambda bounds: varint(bounds[0]) + varint(bounds[1]))
        self._trades = Remembered[int](varint)
        self._high_bits = Remembered[int](_high_bits)
        self._flags = Remembered[tuple[bool, bool, bool, str]](_flags)

    def __call__(self, candle: Candle) -> bytes:
        """Return the framed bytes of ``candle``."""
        bounds, version = self._bounds, candle.version
        volume, vwap, trades = candle.volume, candle.vwap, candle.trades
        high_bits = version >> _LOW_BITS
        if volume is None or vwap is None or trades is None:
            amounts = zip(self._amounts, (volume, vwap, trades), strict=True)
            figures = _PRICES(candle.open, candle.high, candle.low, candle.close)
            figures += b"".join([written(amount) for written, amount in amounts])
        else:
            figures = _PRICES_AND_AMOUNTS(
                candle.open, candle.high, candle.low, candle.close, _PRESENT, volume, _PRESENT, vwap, _PRESENT
            )
            figures += self._trades[index(trades)]
        return b"".join(
            (
                self._names[candle.symbol, candle.interval, candle.session],
                bounds[candle.window_start, candle.window_end],
                figures,
                _TRUE if candle.is_closed else _FALSE,
                _LOW(version << 1 & 0x7F | version << 2 & 0x7F00 | 0x8080) + self._high_bits[high_bits]
                if high_bits
                else varint(version),
                bounds[candle.session_open, candle.session_close],
                self._flags[candle.partial, candle.gap, candle.corrected, candle.state],
            )
        )


def _high_bits(bits: int) -> bytes:
    """The third byte on of those that a version with these upper bits is written in."""
    if bits < 0:
        raise OverflowError("a version is never negative")
    return varint(bits << _LOW_BITS)[2:]


def _flags(flags: tuple[bool, bool, bool, str]) -> bytes:
    return bytes(map(bool, flags[:3])) + varint(STATES.index(flags[3]))
