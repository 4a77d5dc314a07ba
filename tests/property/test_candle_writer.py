"""Candles written by hand are the bytes that fastavro writes, and what it refuses is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs import Encoder
from stockstream.codecs.candle_writer import CandleWriter
from stockstream.core.row import MAX_EPOCH, OFFSET_BITS, candle_version, stamp
from stockstream.models import CANDLE_SCHEMA, Candle
from stockstream.models.candle import STATES

SCHEMA = parse_schema(CANDLE_SCHEMA)
NAMES = [field["name"] for field in CANDLE_SCHEMA["fields"]]
ENCODER = Encoder(CANDLE_SCHEMA, 7)  # one for all: what it remembers of one candle must not show in another
WRITER = CandleWriter(b"\0\0\0\0\7")

edges = st.sampled_from([edge + by for edge in (0, 2**6, 2**13, 2**14, 2**55, 2**62) for by in (-1, 0, 1)])
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70) | edges
texts = st.text(st.characters(codec="utf-8"), max_size=3) | st.text(st.characters(codec="utf-8"), max_size=80)
doubles = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": texts, "long": longs, "double": doubles, "boolean": st.booleans(),
}  # fmt: skip
places = st.builds(stamp, st.integers(0, MAX_EPOCH), st.integers(0, 2**OFFSET_BITS - 1) | st.integers(0, 2**20))
versions = st.builds(candle_version, places, st.booleans())


def of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = field["type"]
    if field["name"] == "version":
        return versions | longs
    if isinstance(kind, list):
        return st.none() | BY_TYPE[kind[1]]
    return st.sampled_from(STATES) if isinstance(kind, dict) else BY_TYPE[kind]


candles = st.builds(Candle, **{field["name"]: of(field) for field in CANDLE_SCHEMA["fields"]})


def by_fastavro(candle: Candle) -> bytes:
    stream = BytesIO()
    stream.write(b"\0\0\0\0\7")
    schemaless_writer(stream, SCHEMA, {name: getattr(candle, name) for name in NAMES})
    return stream.getvalue()


@given(candles)
def test_the_bytes_are_those_of_fastavro(candle: Candle) -> None:
    assert ENCODER(candle) == by_fastavro(candle)


@given(candles, versions)
def test_no_candle_with_a_version_of_ours_is_left_to_a_general_writer(candle: Candle, version: int) -> None:
    candle.version = version
    assert WRITER(candle) == by_fastavro(candle)


@given(candles, st.sampled_from(NAMES), st.sampled_from([None, "text", b"bytes", 1.0, 1.5, True, 2**70, [], object()]))
def test_a_value_of_another_type_is_written_as_fastavro_does_or_refused_by_both(
    candle: Candle, name: str, value: object
) -> None:
    setattr(candle, name, value)
    try:
        expected = by_fastavro(candle)
    except Exception as error:  # whatever it is, both raise
        with pytest.raises(type(error)):
            ENCODER(candle)
    else:
        assert ENCODER(candle) == expected


def test_a_float_is_not_taken_for_the_number_of_trades_that_it_equals() -> None:
    candle = Candle("S", "1m", "regular", 60_000, 120_000, 1.0, 2.0, 1.0, 2.0, 3.0, 1.5, 4, True, 9, 60_000, 120_000)
    ENCODER(candle)
    candle.trades = 4.0  # type: ignore[assignment]  # that is what is tested
    for encode in (by_fastavro, ENCODER):
        with pytest.raises(ValueError, match="do not match"):
            encode(candle)
