"""Latest prices written by hand are the bytes that fastavro writes."""

from __future__ import annotations

from io import BytesIO

from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs import Encoder
from stockstream.codecs.latest_writer import LatestWriter
from stockstream.models import LATEST_SCHEMA, Latest

SCHEMA = parse_schema(LATEST_SCHEMA)
NAMES = [field["name"] for field in LATEST_SCHEMA["fields"]]
ENCODER = Encoder(LATEST_SCHEMA, 7)  # one for all: what it remembers of one price must not show in another
WRITER = LatestWriter(b"\0\0\0\0\7")

longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
doubles = st.floats(allow_nan=False)
prices = st.builds(
    Latest,
    *(texts, doubles, doubles, doubles, texts, longs, longs, longs, longs, texts, texts),
    currency=st.none() | texts,
    bid=st.none() | doubles,
    ask=st.none() | doubles,
    day_volume=longs,
)


@given(prices)
def test_the_bytes_are_those_of_fastavro(latest: Latest) -> None:
    stream = BytesIO()
    stream.write(b"\0\0\0\0\7")
    schemaless_writer(stream, SCHEMA, {name: getattr(latest, name) for name in NAMES})
    assert ENCODER(latest) == WRITER(latest) == stream.getvalue()


@given(prices, st.sampled_from(["symbol", "price", "event_time", "currency", "bid", "day_volume"]))
def test_what_is_of_another_type_is_refused_as_fastavro_refuses_it(latest: Latest, name: str) -> None:
    setattr(latest, name, b"junk")
    try:
        schemaless_writer(BytesIO(), SCHEMA, {each: getattr(latest, each) for each in NAMES})
    except Exception as expected:
        try:
            ENCODER(latest)
        except type(expected):
            return
        raise AssertionError(f"{name} was written") from expected
    raise AssertionError(f"fastavro wrote {name}")
