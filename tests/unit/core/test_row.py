from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stockstream.core.partial import Cumulative, Partial
from stockstream.core.row import (
    MAX_EPOCH,
    OFFSET_BITS,
    Row,
    candle_version,
    row_closed_at,
    row_is_closed,
    row_is_newer,
    row_place,
    row_stamp,
    stamp,
)
from stockstream.core.trade_ids import TradeIds

longs = st.integers(-(2**63), 2**63 - 1)
positive = st.integers(0, 2**63 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
epochs = st.integers(0, MAX_EPOCH)
offsets = st.integers(0, 2**OFFSET_BITS - 1)
edges = st.tuples(longs, longs, longs, doubles)
points = st.tuples(longs, longs)
bars = st.builds(
    Partial,
    first=edges, last=edges, high=doubles, low=doubles, volume_e8=st.integers(-(2**127), 2**127 - 1), turnover=doubles,
    turnover_low=doubles, trades=positive,
    cumulative=st.none() | st.builds(Cumulative, first=points, last=points, peak=longs, stamp=longs),
)  # fmt: skip
ascending = st.lists(positive, max_size=8, unique=True).map(sorted)
rows = st.builds(
    Row,
    topic_id=st.integers(0, 2**32 - 1), stamp=longs, bar=st.none() | bars, closed=st.booleans(), amended=st.booleans(),
    gap=st.booleans(), start_ms=longs, joined_ms=longs, gap_until_ms=longs, clock=st.text(max_size=60),
    ids=st.none(), duplicates=ascending, baseline=st.none() | st.tuples(longs, longs, longs), blind=st.booleans(),
    first_stamp=longs, closed_at=longs, repaired=st.lists(st.tuples(longs, longs, longs), max_size=3),
)  # fmt: skip


@st.composite
def whole_rows(draw: st.DrawFn) -> Row:
    row = draw(rows)
    bounds = draw(ascending)
    row.ids = TradeIds(bounds[: len(bounds) // 2 * 2])
    holes = draw(ascending)
    row.holes = holes[: len(holes) // 2 * 2]
    return row


def state(row: Row) -> list[object]:
    """Every field; `TradeIds` compares by identity."""
    values = {name: getattr(row, name) for name in Row.__slots__}
    return [(name, value.bounds if isinstance(value, TradeIds) else value) for name, value in values.items()]


@given(whole_rows())
def test_a_row_comes_back_with_every_field(row: Row) -> None:
    data = row.encode()
    assert state(Row.decode(data)) == state(row)
    assert row_stamp(data) == row.stamp
    assert row_place(data) == (row.topic_id, row.stamp)
    assert row_is_closed(data) == row.closed
    assert row_closed_at(data) == row.closed_at


@given(whole_rows())
def test_the_bytes_are_those_that_the_layout_says(row: Row) -> None:
    bar, clock = row.bar, row.clock.encode()
    seen = None if bar is None else bar.cumulative
    holed = bool(row.gap or row.holes or row.repaired)
    kinds = (bar is not None, seen is not None, row.baseline is not None, holed)
    truths = (row.closed, row.amended, row.gap, row.blind, *kinds)
    parts = [
        b"\x01", bytes([sum(truth << bit for bit, truth in enumerate(truths))]), struct.pack("<I", row.topic_id),
        int64s(row.stamp, row.first_stamp, row.closed_at, row.start_ms, row.joined_ms, row.gap_until_ms),
        bytes([len(clock)]), clock, deltas(row.ids.bounds), deltas(row.duplicates),
    ]  # fmt: skip
    if bar is not None:
        prices = struct.pack("<4d", bar.first[3], bar.high, bar.low, bar.last[3])
        volume = bar.volume_e8.to_bytes(16, "little", signed=True)
        turnover = struct.pack("<2d", bar.turnover, bar.turnover_low)
        parts += [prices, int64s(*bar.first[:3], *bar.last[:3]), volume, turnover, int64s(bar.trades)]
    if seen is not None:
        parts.append(int64s(*seen.first, *seen.last, seen.peak, seen.stamp))
    if row.baseline is not None:
        parts.append(int64s(*row.baseline))
    if holed:
        parts += [deltas(row.holes), struct.pack("<H", len(row.repaired)), *(int64s(*each) for each in row.repaired)]
    assert row.encode() == b"".join(parts)


def int64s(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def deltas(values: list[int]) -> bytes:
    return b"".join(map(varint, [len(values), *(value - before for before, value in pairwise([0, *values]))]))


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + varint(value // 128)


def test_a_row_of_before_holes_were_kept_has_one_from_nobody_knows_when() -> None:
    flagged = bytearray(Row(7, stamp=3, gap_until_ms=90_000).encode())
    assert Row.decode(bytes(flagged)).holes == []
    flagged[1] |= 1 << 2
    assert Row.decode(bytes(flagged)).holes == [0, 90_000]


@given(whole_rows(), st.data())
def test_a_truncated_row_is_refused(row: Row, data: st.DataObject) -> None:
    whole = row.encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match=r"not a candle row|row layout"):
        Row.decode(whole[:cut])


@given(whole_rows(), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_bytes_raise_nothing_but_valueerror(row: Row, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(row.encode())
    for at, value in changes:
        mutated[at % len(mutated)] = value
    with contextlib.suppress(ValueError):
        Row.decode(bytes(mutated))


@given(st.binary(max_size=300))
@example(b"")
def test_other_bytes_raise_nothing_but_valueerror(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        Row.decode(data)


@given(whole_rows(), st.binary(min_size=1, max_size=3))
def test_bytes_left_over_are_refused(row: Row, rest: bytes) -> None:
    with pytest.raises(ValueError, match="left over"):
        Row.decode(row.encode() + rest)


def test_a_newer_layout_is_named() -> None:
    data = bytearray(Row(1).encode())
    data[0] = 200
    with pytest.raises(ValueError, match="layout 200 is newer"):
        Row.decode(bytes(data))


@given(epochs, offsets, epochs, offsets)
def test_stamps_grow_with_offsets_and_over_epochs(epoch: int, offset: int, other: int, other_offset: int) -> None:
    at = stamp(epoch, offset)
    assert divmod(at, 2**OFFSET_BITS) == (epoch, offset)
    assert (at < stamp(other, other_offset)) == ((epoch, offset) < (other, other_offset))
    assert -1 < at < 2**63


@given(epochs, offsets, offsets, st.booleans())
def test_versions_grow_and_a_closed_candle_beats_a_forming_one(
    epoch: int, offset: int, later: int, closed: bool
) -> None:
    version = candle_version(stamp(epoch, offset), closed)
    assert version == epoch << (OFFSET_BITS + 1) | closed << OFFSET_BITS | offset
    assert candle_version(stamp(epoch, offset), True) > candle_version(stamp(epoch, later), False)
    if offset < later:
        assert candle_version(stamp(epoch, offset), closed) < candle_version(stamp(epoch, later), closed)
    if epoch < MAX_EPOCH:
        assert candle_version(stamp(epoch + 1, 0), False) > candle_version(stamp(epoch, offset), True)
    assert 0 <= candle_version(stamp(epoch, offset), closed) < 2**63


def test_of_two_states_the_greater_stamp_is_newer_and_then_the_closed_one() -> None:
    old, new, closed = Row(1, 5).encode(), Row(1, 6).encode(), Row(1, 6, closed=True).encode()
    assert row_is_newer(old, new)
    assert not row_is_newer(new, old)
    assert row_is_newer(new, closed)
    assert not row_is_newer(closed, new)
    assert row_is_newer(closed, closed)


def test_a_row_knows_the_version_that_it_decides_alone() -> None:
    assert Row(1, stamp(2, 7), closed=True).version == candle_version(stamp(2, 7), True)
