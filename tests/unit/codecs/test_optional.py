from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs.optional import optional_tail
from stockstream.models import CANDLE_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2

FIELDS = [
    {"name": "a", "type": ["null", "long"]},
    {"name": "b", "type": "long"},
    {"name": "c", "type": ["null", "double"]},
    {"name": "d", "type": ["null", "long"]},
    {"name": "e", "type": ["null", "string"]},
]


@given(
    st.none() | st.floats(allow_nan=False),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(),
)
def test_bytes_are_those_of_a_general_writer(double: float | None, long: int | None, text: str | None) -> None:
    head, tail = optional_tail(FIELDS)
    assert head == 2
    out = BytesIO()
    record: dict[str, Any] = {"c": double, "d": long, "e": text}
    schemaless_writer(out, {"type": "record", "name": "r", "fields": FIELDS[2:]}, record)
    assert b"".join(written(value) for written, value in zip(tail, (double, long, text), strict=True)) == out.getvalue()


@pytest.mark.parametrize(("place", "value"), [(0, "1.5"), (1, 1.5), (1, 2**63), (1, "1"), (2, 17), (2, b"x")])
def test_a_value_of_another_type_is_an_error(place: int, value: object) -> None:
    _, tail = optional_tail(FIELDS)
    with pytest.raises((TypeError, OverflowError, struct.error)):
        tail[place](value)


def test_the_tail_ends_where_a_field_must_be_there_or_is_of_another_kind() -> None:
    assert optional_tail([*FIELDS, {"name": "f", "type": "string"}]) == (6, ())
    assert optional_tail([*FIELDS, {"name": "f", "type": ["null", "boolean"]}]) == (6, ())
    assert optional_tail([*FIELDS, {"name": "f", "type": ["long", "null"]}]) == (6, ())
    assert optional_tail(TICK_SCHEMA_V1["fields"]) == (12, ())
    assert optional_tail(CANDLE_SCHEMA["fields"])[0] == len(CANDLE_SCHEMA["fields"])
    head, tail = optional_tail(TICK_SCHEMA_V2["fields"])
    assert {field["name"] for field in TICK_SCHEMA_V2["fields"][head:]} >= {"bid", "ask", "until", "cause"}
    assert len(tail) + head == len(TICK_SCHEMA_V2["fields"])
