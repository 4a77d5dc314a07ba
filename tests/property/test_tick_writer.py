"""Ticks written by hand are the bytes that fastavro writes, and what it refuses is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs import Encoder
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.models.tick import KINDS

SCHEMA = parse_schema(TICK_SCHEMA_V2)
NAMES = [field["name"] for field in TICK_SCHEMA_V2["fields"]]
ENCODER = Encoder(TICK_SCHEMA_V2, 7)  # one for all: what it remembers of one tick must not show in another

longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70) | st.sampled_from([2**31, 1_700_000_000_000])
texts = st.text(st.characters(codec="utf-8"), max_size=3) | st.text(st.characters(codec="utf-8"), max_size=80)
doubles = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {"string": texts, "long": longs, "int": longs, "double": doubles}


def of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = field["type"]
    if isinstance(kind, list):
        return st.none() | BY_TYPE[kind[1]]
    return st.sampled_from(KINDS) if isinstance(kind, dict) else BY_TYPE[kind]


ticks = st.builds(Tick, **{field["name"]: of(field) for field in TICK_SCHEMA_V2["fields"]})


def by_fastavro(tick: Tick) -> bytes:
    stream = BytesIO()
    stream.write(b"\0\0\0\0\7")
    schemaless_writer(stream, SCHEMA, {name: getattr(tick, name) for name in NAMES})
    return stream.getvalue()


@given(ticks)
def test_the_bytes_are_those_of_fastavro(tick: Tick) -> None:
    assert ENCODER(tick) == by_fastavro(tick)


@given(ticks, st.sampled_from(NAMES[:16]), st.sampled_from([None, "text", b"bytes", 1.0, True, 2**70, [], object()]))
def test_a_value_of_another_type_is_written_as_fastavro_does_or_refused_by_both(
    tick: Tick, name: str, value: object
) -> None:
    setattr(tick, name, value)
    try:
        expected = by_fastavro(tick)
    except Exception as error:  # whatever it is, both raise
        with pytest.raises(type(error)):
            ENCODER(tick)
    else:
        assert ENCODER(tick) == expected
