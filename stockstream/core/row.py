"""The state of one candle, as it is stored: everything that a later decision about it needs.

Layout (little endian), version 1::

    u8  layout version          i64 stamp                    i64 open time, order, received
    u8  flags                   i64 first_stamp, closed_at   i64 close time, order, received
    u32 topic id                i64 start_ms, joined_ms      f64 open, high, low, close
                                i64 gap_until_ms
    u8  length of clock name, the name; varint count and delta-coded trade id bounds; the same of duplicates
    if priced: the prices and edges above, i128 volume_e8, f64 turnover and its low part, i64 trades
    if cumulative: i64 first time, first, last time, last, peak, stamp
    if frozen: i64 the baseline's time, cumulative volume and stamp
    if holed: varint count and delta-coded bounds of holes; u16 count of repairs, of each i64 from, until, stamp
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import Ints
from stockstream.core.partial import Cumulative, Partial
from stockstream.core.trade_ids import TradeIds
from stockstream.core.varint import varint
from stockstream.core.windows import Windows

_Place = TypeVar("_Place", int, Ints)

LAYOUT_VERSION = 1
OFFSET_BITS = 55
MAX_EPOCH = 127

_CLOSED, _AMENDED, _GAP, _BLIND, _PRICED, _CUMULATIVE, _FROZEN, _HOLED = (1 << bit for bit in range(8))
_BOOLS = [tuple(bool(flags & flag) for flag in (_CLOSED, _AMENDED, _GAP, _BLIND)) for flags in range(256)]
_HEAD = struct.Struct("<BBIqqqqqqB")
_PRICES = struct.Struct("<4d6qQqddq")
_LOW_64 = (1 << 64) - 1
_VOLUMES = struct.Struct("<6q")
_BASELINE = struct.Struct("<qqq")
_COUNT = struct.Struct("<H")
_REPAIR = struct.Struct("<qqq")
_CLOSED_AT = struct.Struct("<q")
_CLOSED_AT_POS = 22
_NO_DELTAS = b"\0"

# `_HEAD` and `_PRICES` once more, as columns.
_HEADS = np.dtype(
    [("layout", "u1"), ("flags", "u1"), ("topic_id", "<u4")]
    + [(name, "<i8") for name in ("stamp", "first_stamp", "closed_at", "start_ms", "joined_ms", "gap_until_ms")]
    + [("clock_bytes", "u1")]
)
_PRICED_PART = np.dtype(
    [(name, "<f8") for name in ("open", "high", "low", "close")]
    + [(f"{side}_{name}", "<i8") for side in ("open", "close") for name in ("time", "order", "received")]
    + [("volume_low", "<u8"), ("volume_high", "<i8"), ("turnover", "<f8"), ("turnover_low", "<f8"), ("trades", "<i8")]
)

Baseline = tuple[int, int, int]
"""A closing cumulative volume: (event time ms, volume, stamp of the record that brought it)."""


Repair = tuple[int, int, int]
"""What a ``repair`` record says: (from ms, until ms, its stamp)."""


def stamp(epoch: int, offset: int) -> int:
    """A place in the log that grows over epochs: 8 bits of epoch, 55 of source offset. -1 is before every place."""
    return epoch << OFFSET_BITS | offset


def candle_version(at: _Place, closed: bool) -> _Place:
    """The published version: epoch (8 bits), closed (1), source offset (55). A closed candle beats a forming one."""
    return (at >> OFFSET_BITS << OFFSET_BITS) + at + (closed << OFFSET_BITS)


@dataclass(slots=True)
class Row:
    """One candle's state.

    ``topic_id`` names the only topic whose ticks it takes; every tick at or below ``stamp`` has been taken, the first
    of them at ``first_stamp``. ``bar`` is None while only control records have touched it: such a row is never
    published. ``closed_at`` is how far the log had been read when it closed.

    ``start_ms`` is the latest time at or before the window's start at which the symbol was subscribed, ``joined_ms``
    the earliest one inside the window, each 0 if there is none. ``gap``: a known hole reaches into the window;
    ``gap_until_ms``: the latest end of the holes that begin before the window's end, repaired or not; ``blind``: one of
    them covers the open of the window's trading date. ``holes`` are the bounds of those that reach into the window, or
    on to later ones, and are not repaired; ``repaired`` are the repairs whose log may be read again.

    ``ids`` and ``duplicates`` (ascending stamps) are kept by 1m rows only: they decide for all intervals. ``baseline``
    stands for the rows before it that were evicted.
    """

    topic_id: int
    stamp: int = -1
    bar: Partial | None = None
    closed: bool = False
    amended: bool = False
    gap: bool = False
    start_ms: int = 0
    joined_ms: int = 0
    gap_until_ms: int = 0
    clock: str = ""
    ids: TradeIds = field(default_factory=TradeIds)
    duplicates: list[int] = field(default_factory=list)
    baseline: Baseline | None = None
    blind: bool = False
    first_stamp: int = -1
    closed_at: int = -1
    holes: list[int] = field(default_factory=list)
    repaired: list[Repair] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The published version, as far as this row alone decides it."""
        return candle_version(self.stamp, self.closed)

    @property
    def began_unseen(self) -> bool:
        """Whether the window's first part was not seen: its symbol was subscribed inside it, and only then ticks came.

        Of snapshots the reception counts: their time, in whole seconds, may lie before a subscription that they follow.
        """
        return self.bar is not None and 0 < self.joined_ms <= max(self.bar.first[0], self.bar.first[2])

    def encode(self) -> bytes:
        """The stored bytes."""
        bar, baseline, clock = self.bar, self.baseline, _encoded(self.clock)
        flags = self.closed * _CLOSED | self.amended * _AMENDED | self.gap * _GAP | self.blind * _BLIND
        body = b""
        if bar is not None:
            flags |= _PRICED
            (t0, order0, received0, open_), (t1, order1, received1, close) = bar.first, bar.last
            volume = bar.volume_e8
            body = _PRICES.pack(
                open_, bar.high, bar.low, close, t0, order0, received0, t1, order1, received1,
                volume & _LOW_64, volume >> 64, bar.turnover, bar.turnover_low, bar.trades,
            )  # fmt: skip
            if (seen := bar.cumulative) is not None:
                flags |= _CUMULATIVE
                body += _VOLUMES.pack(*seen.first, *seen.last, seen.peak, seen.stamp)
        if baseline is not None:
            flags |= _FROZEN
            body += _BASELINE.pack(*baseline)
        if self.gap or self.holes or self.repaired:
            flags |= _HOLED
            body += _deltas(self.holes) + _COUNT.pack(len(self.repaired))
            body += b"".join(_REPAIR.pack(*each) for each in self.repaired)
        head = _HEAD.pack(
            LAYOUT_VERSION,
            flags,
            self.topic_id,
            self.stamp,
            self.first_stamp,
            self.closed_at,
            self.start_ms,
            self.joined_ms,
            self.gap_until_ms,
            len(clock),
        )
        return b"".join((head, clock, _deltas(self.ids.bounds), _deltas(self.duplicates), body))

    @classmethod
    def decode(cls, data: bytes) -> Row:
        """The row of stored bytes; raises ValueError if they are none."""
        try:
            return cls._decode(data)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"not a candle row ({error})") from error

    @classmethod
    def _decode(cls, data: bytes) -> Row:
        layout, flags, topic_id, at, first_stamp, closed_at, start_ms, joined_ms, gap_until_ms, length = (
            _HEAD.unpack_from(data)
        )
        if layout != LAYOUT_VERSION:
            raise ValueError(f"row layout {layout} is newer than this version of stockstream reads")
        pos = _HEAD.size + length
        clock = _decoded(data[_HEAD.size : pos])
        bounds, pos = _read_deltas(data, pos)
        if len(bounds) % 2:
            raise ValueError("not a candle row (a range of trade ids without an end)")
        duplicates, pos = _read_deltas(data, pos)
        bar = None
        if flags & _PRICED:
            (
                open_, high, low, close, t0, order0, received0, t1, order1, received1,
                volume_low, volume_high, turnover, turnover_low, trades,
            ) = _PRICES.unpack_from(data, pos)  # fmt: skip
            pos += _PRICES.size
            first, last = (t0, order0, received0, open_), (t1, order1, received1, close)
            bar = Partial(first, last, high, low, volume_high << 64 | volume_low, turnover, turnover_low, trades)
            if flags & _CUMULATIVE:
                t0, first_seen, t1, last_seen, peak, seen_at = _VOLUMES.unpack_from(data, pos)
                pos += _VOLUMES.size
                bar.cumulative = Cumulative((t0, first_seen), (t1, last_seen), peak, seen_at)
        baseline = None
        if flags & _FROZEN:
            baseline = _BASELINE.unpack_from(data, pos)
            pos += _BASELINE.size
        # Rows of before holes were kept: one that reached so far, and from where nobody knows.
        holes, repaired = [0, gap_until_ms] if flags & _GAP else [], []
        if flags & _HOLED:
            holes, pos = _read_deltas(data, pos)
            (count,) = _COUNT.unpack_from(data, pos)
            pos += _COUNT.size
            repaired = [_REPAIR.unpack_from(data, pos + at * _REPAIR.size) for at in range(count)]
            pos += count * _REPAIR.size
        if pos != len(data):
            raise ValueError(f"not a candle row ({len(data) - pos} bytes left over)")
        closed, amended, gap, blind = _BOOLS[flags]
        return cls(
            topic_id, at, bar, closed, amended, gap, start_ms, joined_ms, gap_until_ms, clock,
            TradeIds(bounds), duplicates, baseline, blind, first_stamp, closed_at, holes, repaired,
        )  # fmt: skip


def encoded_whole(
    topic_id: int, closed_at: int, windows: Windows, volume_e8: NDArray[Any], start_ms: Ints, clocks: Sequence[str]
) -> list[bytes]:
    """The stored bytes of rows of trades that were opened and closed at once, and know of nothing else: no `Row` each.

    The arguments are named as the fields of `Row` are; the last three are columns, one entry a window.
    """
    names = list(map(_encoded, clocks))
    heads, prices = np.zeros(len(names), _HEADS), np.zeros(len(names), _PRICED_PART)
    heads["layout"], heads["flags"], heads["topic_id"] = LAYOUT_VERSION, _CLOSED | _PRICED, topic_id
    heads["stamp"], heads["first_stamp"], heads["closed_at"] = windows.last, windows.first, closed_at
    heads["start_ms"], heads["clock_bytes"] = start_ms, list(map(len, names))
    for side, edges in (("open", windows.open), ("close", windows.close)):
        prices[side] = edges["price"]
        for name in ("time", "order", "received"):
            prices[f"{side}_{name}"] = edges[name]
    for name in ("high", "low", "turnover", "turnover_low", "trades"):
        prices[name] = getattr(windows, name)
    if volume_e8.dtype == object:
        prices["volume_low"], prices["volume_high"] = volume_e8 & _LOW_64, volume_e8 >> 64
    else:
        prices["volume_low"] = volume_e8
    return [
        b"".join((head, name, _deltas(ids), _NO_DELTAS, priced))
        for head, name, ids, priced in zip(_items(heads), names, windows.ids, _items(prices), strict=True)
    ]


def _items(structures: NDArray[Any]) -> list[bytes]:
    items: list[bytes] = structures.view(f"V{structures.itemsize}").tolist()
    return items


def row_stamp(data: bytes) -> int:
    """The stamp of stored bytes, without decoding the rest."""
    return int.from_bytes(data[6:14], "little", signed=True)


def row_place(data: bytes) -> tuple[int, int]:
    """(topic id, stamp) of stored bytes: the newest tick that they hold."""
    return int.from_bytes(data[2:6], "little"), row_stamp(data)


def row_is_closed(data: bytes) -> bool:
    """Whether stored bytes are those of a closed row."""
    return bool(data[1] & _CLOSED)


def row_closed_at(data: bytes) -> int:
    """How far the log had been read when the row of stored bytes closed, as a stamp; -1 if it is open."""
    return int(_CLOSED_AT.unpack_from(data, _CLOSED_AT_POS)[0])


def row_is_newer(stored: bytes, arriving: bytes) -> bool:
    """Whether ``arriving`` is the later of two states of one row, or the same."""
    return (row_stamp(arriving), row_is_closed(arriving)) >= (row_stamp(stored), row_is_closed(stored))


@lru_cache(1000)
def _encoded(clock: str) -> bytes:
    return clock.encode()


@lru_cache(1000)
def _decoded(clock: bytes) -> str:
    return clock.decode()


def _deltas(ascending: list[int]) -> bytes:
    """Their number and differences, as varints."""
    if not ascending:
        return _NO_DELTAS
    previous, parts = 0, [varint(len(ascending))]
    for value in ascending:
        parts.append(varint(value - previous))
        previous = value
    return b"".join(parts)


def _read_deltas(data: bytes, pos: int) -> tuple[list[int], int]:
    if not data[pos]:
        return [], pos + 1
    count, pos = _read_varint(data, pos)
    values, value = [], 0
    for _ in range(count):
        delta, pos = _read_varint(data, pos)
        value += delta
        values.append(value)
    return values, pos


def _read_varint(data: bytes, pos: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
