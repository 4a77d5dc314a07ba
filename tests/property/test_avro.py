"""Records survive their encoding, old ticks are read, and bytes of any kind raise `BadRecord` and nothing else."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs import BadRecord, Decoder, Encoder, TickDecoder
from stockstream.errors import BadMessage
from stockstream.models import (
    CANDLE_SCHEMA,
    LATEST_SCHEMA,
    TICK_SCHEMA_V1,
    TICK_SCHEMA_V2,
    Candle,
    Latest,
    Tick,
)
from stockstream.models.candle import STATES
from stockstream.models.schema import AvroSchema
from stockstream.models.tick import KINDS

SCHEMAS = {1: TICK_SCHEMA_V1, 2: TICK_SCHEMA_V2, 3: CANDLE_SCHEMA, 4: LATEST_SCHEMA}


class FakeRegistry:
    async def schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in SCHEMAS:
            raise BadMessage("unknown id")
        return SCHEMAS[schema_id]


def tick(key: bytes | None, value: bytes | None) -> Tick:
    decoder = TickDecoder(FakeRegistry())
    asyncio.run(decoder.prepare([value]))
    return decoder.decode(key, value)


longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
doubles = st.floats(allow_nan=False)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
BY_TYPE = {"string": texts, "long": longs, "int": ints, "double": doubles, "boolean": st.booleans()}


def of(schema: AvroSchema, **fixed: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    strategies: dict[str, st.SearchStrategy[Any]] = {}
    for field in schema["fields"]:
        kind = field["type"]
        optional = isinstance(kind, list)
        name = kind[1] if optional else kind
        if not isinstance(name, dict):
            strategies[field["name"]] = st.none() | BY_TYPE[name] if optional else BY_TYPE[name]
    return {**strategies, **fixed}


ticks = st.builds(
    Tick, **of(TICK_SCHEMA_V2, symbol=st.text(st.characters(codec="utf-8"), min_size=1), kind=st.sampled_from(KINDS))
)
candles = st.builds(Candle, **of(CANDLE_SCHEMA, state=st.sampled_from(STATES)))
latest = st.builds(Latest, **of(LATEST_SCHEMA))
GOOD = Encoder(TICK_SCHEMA_V2, 2)(Tick("AAPL", 1_700_000_000_000, 189.37, 10.0, bid=1.0, currency="USD"))


@given(ticks)
def test_ticks_round_trip(given_tick: Tick) -> None:
    read = tick(given_tick.symbol.encode(), Encoder(TICK_SCHEMA_V2, 2)(given_tick))
    if given_tick.source == "yahoo" and (given_tick.quote_type == 41 or given_tick.exchange == "CCC"):
        read.day_volume = given_tick.day_volume
    assert read == given_tick


@pytest.mark.parametrize(("records", "schema", "schema_id"), [(candles, CANDLE_SCHEMA, 3), (latest, LATEST_SCHEMA, 4)])
def test_candles_and_latest_prices_round_trip(
    records: st.SearchStrategy[Candle | Latest], schema: AvroSchema, schema_id: int
) -> None:
    @given(records)
    def round_trip(record: Candle | Latest) -> None:
        decoder = Decoder(FakeRegistry(), type(record), schema)
        value = Encoder(schema, schema_id)(record)
        asyncio.run(decoder.prepare([value]))
        assert decoder.decode(value) == record

    round_trip()


prices = st.integers(1, 9_999_999).flatmap(lambda n: st.integers(0, 6).map(lambda d: n / 10**d))
seeds = st.fixed_dictionaries(
    {
        "symbol": st.just("AAPL"),
        "price": prices,
        "timestamp": st.integers(0, 2**41).map(str),
        "exchange": texts,
        "quote_type": st.just(8),
        "market_hours": st.integers(0, 3),
        "change_percent": prices,
        "day_volume": st.integers(0, 2**31 - 1),
        "change": prices,
        "last_size": st.integers(0, 2**31 - 1),
        "price_hint": texts,
        "producer_timestamp": longs,
    }
)


@given(seeds)
def test_version_1_is_read_with_the_decimals_it_was_written_with(seed: dict[str, Any]) -> None:
    """A float32 tells apart decimals of up to 6 digits; one of 7 may be written shorter, but names the same float32."""
    if seed["exchange"] == "CCC":
        seed["exchange"] = ""
    read = tick(b"AAPL", Encoder(TICK_SCHEMA_V1, 1)(seed))
    assert read.kind == "snapshot"
    assert read.event_time == int(seed["timestamp"])
    assert read.day_volume == (seed["day_volume"] or -1)
    for name in ("price", "change", "change_percent"):
        written, got = seed[name], getattr(read, name)
        assert struct.pack("<f", got) == struct.pack("<f", written)
        assert len(repr(got)) <= len(repr(written))
        if len(f"{written:.10g}".replace(".", "").strip("0")) <= 6:
            assert got == written
    for name in ("symbol", "exchange", "market_hours", "price_hint", "producer_timestamp", "quote_type"):
        assert getattr(read, name) == seed[name]


def only_bad_records(key: bytes | None, value: bytes) -> None:
    try:
        read = tick(key, value)
    except BadRecord:
        return
    assert isinstance(read, Tick)


@given(
    st.none() | st.binary(max_size=8),
    st.binary(max_size=200),
    st.sampled_from([b"", *(bytes([0, 0, 0, 0, i]) for i in range(6))]),
)
def test_random_bytes_raise_nothing_else(key: bytes | None, body: bytes, header: bytes) -> None:
    only_bad_records(key, header + body)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=5), st.integers(0, len(GOOD)))
def test_mutated_messages_raise_nothing_else(changes: list[tuple[int, int]], cut: int) -> None:
    value = bytearray(GOOD)
    for position, byte in changes:
        value[position] = byte
    only_bad_records(b"AAPL", bytes(value))
    only_bad_records(b"AAPL", bytes(value[:cut]))


@given(st.integers(0, len(GOOD)), st.integers(0, 2**70))
def test_huge_lengths_raise_nothing_else(position: int, length: int) -> None:
    varint = bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    only_bad_records(b"AAPL", GOOD[:position] + bytes(varint) + GOOD[position:])


json_values = st.recursive(
    st.none() | st.booleans() | longs | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.sampled_from([f["name"] for f in TICK_SCHEMA_V2["fields"]]) | st.text(), json_values))
def test_json_of_any_kind_raises_nothing_else(record: dict[str, Any]) -> None:

    only_bad_records(b"AAPL", json.dumps({"symbol": "AAPL", "price": 1.5, "event_time": 1, **record}).encode())
    only_bad_records(b"AAPL", b"{" + json.dumps(record).encode())
