"""Candles read as columns are those that the reader of single records reads; the newest of them are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from damage import damaged
from hypothesis import given
from hypothesis import strategies as st
from whole import OneSchema, Record, candle_decoder, read_however_few

from stockstream.codecs import Encoder
from stockstream.codecs.whole import WholeCandleDecoder
from stockstream.core.candle_columns import joined, newest
from stockstream.models import CANDLE_SCHEMA, Candle
from stockstream.models.candle import STATES
from stockstream.models.records import Records

HEADER_BYTES = 5
encode = Encoder(CANDLE_SCHEMA, 1)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)
doubles = st.floats()
texts = st.sampled_from(["", "A", "B"]) | st.text(st.characters(codec="utf-8"), max_size=80)


def candles(texts: st.SearchStrategy[str], counts: st.SearchStrategy[int]) -> st.SearchStrategy[Candle]:
    return st.builds(
        Candle, symbol=texts, interval=texts, session=texts, window_start=longs, window_end=longs, open=doubles,
        high=doubles, low=doubles, close=doubles, volume=st.none() | doubles, vwap=st.none() | doubles,
        trades=st.none() | counts, is_closed=st.booleans(), version=counts, session_open=longs, session_close=longs,
        partial=st.booleans(), gap=st.booleans(), corrected=st.booleans(), state=st.sampled_from(STATES),
    )  # fmt: skip


short = st.text(st.characters(codec="utf-8"), max_size=3)
ordinary = candles(short, st.integers(0, 2**62 - 1)).map(
    lambda c: Candle(c.symbol, c.interval, c.session, c.window_start // 4, c.window_end // 4, *c_rest(c))
)


def c_rest(c: Candle) -> tuple[object, ...]:
    return (
        c.open, c.high, c.low, c.close, c.volume, c.vwap, c.trades, c.is_closed, c.version, c.session_open // 4,
        c.session_close // 4, c.partial, c.gap, c.corrected, c.state,
    )  # fmt: skip


def records_of(values: Sequence[bytes | None]) -> Records:
    return Records.of([Record(b"key", value, 3 * place) for place, value in enumerate(values)])


def check(decoder: WholeCandleDecoder, records: Records) -> int:
    """Compare what is read with `decode`; returns how many could not be read."""
    columns, others = read_however_few(decoder, records)
    places = columns.place.tolist()
    assert sorted([*places, *others]) == list(range(len(records)))
    assert columns.offset.tolist() == [records.offset(place) for place in places]
    assert [repr(columns.candle(index)) for index in range(len(columns))] == [
        repr(decoder.decode(records.value(place))) for place in places
    ]
    return len(others)


@given(st.lists(candles(texts, longs), min_size=1, max_size=8), st.data())
def test_says_what_the_reader_of_single_records_says(batch: list[Candle], data: st.DataObject) -> None:
    values = [encode(candle) for candle in batch]
    at = data.draw(st.integers(0, len(batch)))
    bad = data.draw(
        st.sampled_from([None, b"", b"\0\0\0\0\1", b"{}"]) | st.just(damaged(values[0], HEADER_BYTES, data))
    )
    decoder = WholeCandleDecoder(OneSchema(CANDLE_SCHEMA))
    records = records_of([*values[:at], bad, *values[at:]])
    asyncio.run(decoder.prepare(records))
    for _ in range(2):  # its names are known the second time
        check(decoder, records)


@given(st.lists(ordinary, min_size=1, max_size=8))
def test_ordinary_candles_are_read(batch: list[Candle]) -> None:
    assert check(candle_decoder(), records_of([encode(candle) for candle in batch])) == 0


few = st.builds(
    lambda symbol, interval, minute, version, close: Candle(
        symbol, interval, "regular", minute * 60_000, 1, 1.0, 1.0, 1.0, close, None, None, None, False, version, 0, 1
    ),
    st.sampled_from("AB"), st.sampled_from(["1m", "5m"]), st.integers(0, 2), st.integers(0, 3), st.floats(0, 9),
)  # fmt: skip


@given(st.lists(st.lists(few, max_size=6), min_size=1, max_size=4), st.booleans())
def test_the_newest_version_is_kept_and_of_equal_ones_the_last(parts: list[list[Candle]], joins: bool) -> None:
    decoder = candle_decoder()
    columns = [read_however_few(decoder, records_of([encode(candle) for candle in part]))[0] for part in parts]
    if joins:
        columns = [joined(columns)]
    kept = [part.of(mask) for part, mask in zip(columns, newest(columns), strict=True)]
    expected: dict[object, Candle] = {}
    for candle in (candle for part in parts for candle in part):
        held = expected.get(candle.key)
        if held is None or candle.version >= held.version:
            expected[candle.key] = candle
    found = [part.candle(index) for part in kept for index in range(len(part))]
    assert {candle.key: candle for candle in found} == expected
    assert len(found) == len(expected)
