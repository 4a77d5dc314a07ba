"""What is read as columns is what the reader of single records says; whatever that one refuses is not among it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from whole import values_of

from stockstream.codecs import Encoder, TickDecoder
from stockstream.codecs.tick_columns import TickColumns
from stockstream.codecs.tick_rest import TickRest
from stockstream.codecs.walk import Ints
from stockstream.core.columns import Columns
from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Tick
from stockstream.models.records import Records
from stockstream.models.schema import AvroSchema
from stockstream.models.tick import KINDS

SCHEMAS = {1: TICK_SCHEMA_V1, 2: TICK_SCHEMA_V2, 3: {**TICK_SCHEMA_V2, "fields": TICK_SCHEMA_V2["fields"][::-1]}}
ENCODERS = {schema_id: Encoder(schema, schema_id) for schema_id, schema in SCHEMAS.items()}
HEADER = b"\0\0\0\0\2"
DOUBLES = ("price", "last_size")
LONGS = ("event_time", "day_volume", "trade_id")
REST = TickRest()
REST_FIELDS = {f.name for f in fields(Tick)} - {f.name for f in fields(Columns)} - {"source", "exchange"}
REST_FIELDS -= {"producer_timestamp"}


@dataclass(frozen=True, slots=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int


class FakeRegistry:
    async def schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in SCHEMAS:
            raise BadMessage("unknown id")
        return SCHEMAS[schema_id]


def records_of(pairs: Sequence[tuple[bytes | None, bytes | None]]) -> Records:
    return Records.of([Record(key, value, 3 * place) for place, (key, value) in enumerate(pairs)])


def bits(numbers: Sequence[float]) -> bytes:
    return np.array(numbers, np.float64).tobytes()  # NaN is not equal to itself, and 0.0 is to -0.0


def check_rest(decoder: TickDecoder, records: Records, at: Ints, columns: Columns) -> None:
    """Compare the fields that decide no candle, of those that can be read; few cannot."""
    rest, bad = REST.read(records.data, at)
    ticks = [decoder.decode(records.key(place), records.value(place)) for place in columns.place.tolist()]
    for name in REST_FIELDS:
        found = zip(values_of(rest.get(name), len(ticks)), ticks, bad.tolist(), strict=True)
        assert all(is_bad or repr(value) == repr(getattr(tick, name)) for value, tick, is_bad in found), name
    assert bad.tolist() == [not all(-(2**31) <= n < 2**31 for n in (t.quote_type, t.market_hours)) for t in ticks]


def check(decoder: TickDecoder, reader: TickColumns, records: Records) -> Columns:
    """Compare what is plain with `TickDecoder.decode`; all else has its place among the others."""
    columns, rest_at, unread = reader.read_to_rest(records, [HEADER])
    check_rest(decoder, records, rest_at, columns)
    others = unread.tolist()
    places = columns.place.tolist()
    assert places == sorted(set(places))
    assert others == sorted(others)
    assert sorted(places + others) == list(range(len(records)))
    assert columns.offset.tolist() == [records.offset(place) for place in places]
    ticks = [decoder.decode(records.key(place), records.value(place)) for place in places]
    for name in LONGS:
        assert getattr(columns, name).tolist() == [getattr(tick, name) for tick in ticks]
    for name in DOUBLES:
        assert bits(getattr(columns, name)) == bits([getattr(tick, name) for tick in ticks])
    assert columns.received.tolist() == [tick.producer_timestamp for tick in ticks]
    assert [columns.symbols[symbol] for symbol in columns.symbol] == [tick.symbol for tick in ticks]
    assert [columns.venues[venue] for venue in columns.venue] == [(tick.source, tick.exchange) for tick in ticks]
    assert [KINDS[kind] for kind in columns.kind] == [tick.kind for tick in ticks]
    sequences = zip(columns.sequence.tolist(), columns.has_sequence.tolist(), strict=True)
    assert [number if has else None for number, has in sequences] == [tick.sequence for tick in ticks]
    assert [repr(columns.tick(place)) for place in range(len(columns))] == [repr(tick) for tick in ticks]
    return columns


longs = st.integers(-(2**63), 2**63 - 1)
# Numbers are as wide as they come, and those of each width are as frequent.
widths = st.integers(0, 63).flatmap(lambda bits: st.integers(-(2**bits), 2**bits - 1))
doubles = st.floats()
texts = st.text(st.characters(codec="utf-8"), max_size=70) | st.text("ABC.-=^", max_size=17)
venues = st.sampled_from(["", "yahoo", "CCC", "NMS", "binance", "FIFTEEN-LETTERS", "SIXTEEN-LETTERS-", "Börse"])


def ticks(symbols: st.SearchStrategy[str]) -> st.SearchStrategy[Tick]:
    maybe = {"double": st.none() | doubles, "long": st.none() | widths, "string": st.none() | texts}
    optional: dict[str, Any] = {
        field["name"]: maybe[field["type"][1]] for field in TICK_SCHEMA_V2["fields"] if isinstance(field["type"], list)
    }
    some = st.fixed_dictionaries({}, optional=optional)
    required = st.fixed_dictionaries(
        {
            "symbol": symbols,
            "event_time": widths,
            "price": doubles,
            "last_size": doubles,
            "day_volume": widths,
            "trade_id": widths,
            "kind": st.sampled_from(KINDS),
            "producer_timestamp": widths | st.just(0),
            "timestamp": texts,
            "exchange": venues | texts,
            "quote_type": st.sampled_from([0, 8, 41]) | st.integers(-(2**31), 2**31 - 1),
            "market_hours": st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3),
            "change_percent": doubles,
            "change": doubles,
            "price_hint": st.just("2") | texts,
            "source": venues | texts,
        }
    )
    return st.builds(lambda all_have, some_have: Tick(**all_have, **some_have), required, some)


ordinary_symbols = st.sampled_from(
    ["AAPL", "BINANCE:BTCUSDT", "A", "SEVEN:7", "EIGHT:88", "S" * 15, "S" * 16, "S" * 63]
)
any_tick = ticks(texts | ordinary_symbols)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes | None, bytes | None]:
    """A tick whose bytes were cut, overwritten or added to."""
    tick = draw(any_tick)
    value = bytearray(ENCODERS[2](tick))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        match draw(st.sampled_from(["cut", "flip", "add"])):
            case "cut":
                del value[at:]
            case "add":
                value[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "flip" if at < len(value):
                value[at] ^= draw(st.integers(1, 255))
    return tick.symbol.encode(), bytes(value)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes | None, bytes | None]:
    """Key and value of a record of any kind."""
    tick = draw(any_tick)
    key = tick.symbol.encode()
    match draw(st.sampled_from(["own", "own", "own", "v1", "other", "json", "unknown", "none", "key", "random"])):
        case "v1":
            try:
                return key, ENCODERS[1](tick)
            except (InvalidInput, ValueError, OverflowError):
                return key, None
        case "other":
            return key, ENCODERS[3](tick)
        case "json":
            return key, json.dumps(asdict(tick)).encode()
        case "unknown":
            return key, b"\0\0\0\0\7" + ENCODERS[2](tick)[5:]
        case "none":
            return key, None
        case "key":
            return draw(st.none() | st.binary(max_size=9) | st.just(key + b"\0") | st.just(key[:-1])), ENCODERS[2](tick)
        case "random":
            return key, draw(st.sampled_from([b"", b"\0\0\0\0\2"])) + draw(st.binary(max_size=200))
    return key, ENCODERS[2](tick)


def prepared(records: Records) -> tuple[TickDecoder, TickColumns]:
    decoder = TickDecoder(FakeRegistry())
    asyncio.run(decoder.prepare(records))
    return decoder, TickColumns(decoder.decode)


@given(st.lists(pairs() | damaged(), max_size=12))
@example([(None, None)])
@example([(b"", b"")])
def test_says_what_the_reader_of_single_records_says(batch: list[tuple[bytes | None, bytes | None]]) -> None:
    records = records_of(batch)
    decoder, reader = prepared(records)
    check(decoder, reader, records)
    check(decoder, reader, records)  # its symbols and venues are known now


@given(st.lists(ticks(ordinary_symbols), min_size=1, max_size=8), st.data())
def test_a_damaged_record_costs_itself_only(good: list[Tick], data: st.DataObject) -> None:
    batch = [(tick.symbol.encode(), ENCODERS[2](tick)) for tick in good]
    records = records_of(batch)
    plain = check(*prepared(records), records).place.tolist()
    at = data.draw(st.integers(0, len(batch)))
    mixed = records_of([*batch[:at], data.draw(damaged() | pairs()), *batch[at:]])
    found = check(*prepared(mixed), mixed).place.tolist()
    assert [place for place in found if place != at] == [place + (place >= at) for place in plain]


asciis = st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=63)
short = st.text(st.characters(codec="utf-8"), max_size=15).filter(lambda text: len(text.encode()) < 16)
ordinary = st.builds(
    Tick,
    symbol=st.text(st.characters(codec="utf-8"), min_size=1, max_size=15),
    event_time=st.integers(-(2**62), 2**62 - 1),
    price=doubles,
    last_size=doubles,
    day_volume=st.integers(-(2**62), 2**62 - 1),
    trade_id=st.integers(-(2**62), 2**62 - 1),
    kind=st.sampled_from(KINDS),
    producer_timestamp=st.integers(-(2**62), 2**62 - 1),
    timestamp=asciis,
    exchange=short,
    quote_type=st.integers(-64, 63),
    market_hours=st.integers(-64, 63),
    change_percent=doubles,
    change=doubles,
    price_hint=asciis,
    source=short,
    sequence=st.none() | st.integers(-(2**62), 2**62 - 1),
    currency=st.none() | asciis,
    bid=st.none() | doubles,
    volume_24h=st.none() | doubles,
    trades_24h=st.none() | st.integers(0, 2**40),
    until=st.none() | st.integers(0, 2**42),
    cause=st.none() | asciis,
)


@given(st.lists(ordinary, min_size=1, max_size=10))
def test_ordinary_ticks_are_plain(batch: list[Tick]) -> None:
    records = records_of([(tick.symbol.encode(), ENCODERS[2](tick)) for tick in batch])
    assert len(check(*prepared(records), records)) == len(batch)
