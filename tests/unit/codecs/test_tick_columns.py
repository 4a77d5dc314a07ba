from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import pytest

from stockstream.codecs import Encoder, TickDecoder
from stockstream.core.columns import SNAPSHOT, TRADE
from stockstream.errors import BadMessage
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Tick
from stockstream.models.records import Records
from stockstream.models.schema import AvroSchema

SCHEMAS = {1: TICK_SCHEMA_V1, 2: TICK_SCHEMA_V2, 9: TICK_SCHEMA_V2}
NOW_MS = 1_763_645_400_000
encode = Encoder(TICK_SCHEMA_V2, 2)
Pair = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int


class FakeRegistry:
    def __init__(self) -> None:
        self.asked: list[int] = []

    async def schema(self, schema_id: int) -> AvroSchema:
        self.asked.append(schema_id)
        if schema_id not in SCHEMAS:
            raise BadMessage("unknown id")
        return SCHEMAS[schema_id]


def pair(tick: Tick) -> Pair:
    return tick.symbol.encode(), encode(tick)


def records_of(pairs: Sequence[Pair]) -> Records:
    return Records.of([Record(key, value, 1000 + place) for place, (key, value) in enumerate(pairs)])


def prepared(records: Records) -> TickDecoder:
    decoder = TickDecoder(FakeRegistry())
    asyncio.run(decoder.prepare(records))
    return decoder


def trade(number: int) -> Tick:
    """As an exchange's own feed gives them."""
    at_ms = NOW_MS + 10 * number
    symbol = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:1000PEPEUSDT")[number % 3]
    return Tick(
        symbol, at_ms, 91_234.5 + number, 0.001 * number, trade_id=5_512_345_678 + number,
        producer_timestamp=at_ms + 40, timestamp=str(at_ms), exchange="BINANCE", quote_type=41, source="binance",
        sequence=10**18 + number if number % 2 else None,
    )  # fmt: skip


def snapshot(number: int) -> Tick:
    """As Yahoo gives them."""
    at_ms = NOW_MS + 1000 * (number // 10)
    symbol, exchange = (("AAPL", "NMS"), ("F", "NYQ"), ("VCB.VN", "VSE"), ("BTC-USD", "CCC"))[number % 4]
    tick = Tick(
        symbol, at_ms, 271.49 + number / 100, 3.0, 40_000_000 + 7 * number, -1, "snapshot", at_ms + number % 900,
        str(at_ms), exchange, 8, 1, 0.25 * number, -1.5 * number, "2", currency="USD",
    )  # fmt: skip
    if exchange == "CCC":
        return replace(tick, day_volume=-1, quote_type=41, volume_24h=5e10 + number)
    return replace(tick, bid=271.4, bid_size=2.0, ask=271.5, ask_size=1.0) if number % 3 else tick


def quote(number: int) -> Tick:
    return replace(snapshot(number), kind="quote", day_volume=-1, market_hours=number % 4, sequence=number)


def control(number: int) -> Tick:
    at_ms = NOW_MS + number
    if number % 2:
        return Tick("AAPL", at_ms, kind="start", producer_timestamp=at_ms)
    return Tick("AAPL", at_ms, kind="gap", producer_timestamp=at_ms, until=at_ms + 900, cause="connection lost")


ORDINARY = [make(number) for number in range(60) for make in (trade, snapshot, quote, control)]


@pytest.mark.parametrize("make", [trade, snapshot, quote, control])
def test_ticks_of_ordinary_feeds_are_all_plain(make: object) -> None:
    assert callable(make)
    ticks = [make(number) for number in range(200)]
    records = records_of([pair(tick) for tick in ticks])
    columns, others = prepared(records).columns(records)
    assert others == []
    assert [columns.tick(place) for place in range(len(columns))] == ticks
    assert columns.offset.tolist() == list(range(1000, 1200))
    assert columns.event_time.tolist() == [tick.event_time for tick in ticks]
    assert columns.price.tolist() == [tick.price for tick in ticks]
    assert [columns.symbols[symbol] for symbol in columns.symbol] == [tick.symbol for tick in ticks]
    assert [columns.venues[venue] for venue in columns.venue] == [(tick.source, tick.exchange) for tick in ticks]


def altered(tick: Tick, at: int, byte: int) -> bytes:
    value = bytearray(encode(tick))
    value[at] = byte
    return bytes(value)


TICK = trade(0)
TEN_BYTES = b"\xff" * 9 + b"\1"
ODD: dict[str, Pair] = {
    "no value": (b"A", None),
    "no key": (None, encode(TICK)),
    "an empty key": (b"", encode(replace(TICK, symbol=""))),
    "the key of another symbol": (b"BINANCE:BTCUSDC", encode(TICK)),
    "a key that only begins like the symbol": (b"BINANCE:BTCUSDT2", encode(TICK)),
    "a key that the symbol only begins like": (b"BINANCE:BTCUSD", encode(TICK)),
    "a symbol of 64 bytes": pair(replace(TICK, symbol="S" * 64)),
    "a symbol that is no UTF-8": (b"\xffINANCE:BTCUSDT", altered(TICK, 6, 0xFF)),
    "JSON": (b"AAPL", json.dumps(asdict(snapshot(0))).encode()),
    "version 1": (b"AAPL", Encoder(TICK_SCHEMA_V1, 1)(snapshot(0))),
    "an unknown schema": (pair(TICK)[0], b"\0\0\0\0\3" + encode(TICK)[5:]),
    "no framing": (pair(TICK)[0], encode(TICK)[5:]),
    "a header only": (pair(TICK)[0], encode(TICK)[:5]),
    "less than a header": (pair(TICK)[0], b"\0\0"),
    "nothing": (pair(TICK)[0], b""),
    "a byte too few": (pair(TICK)[0], encode(TICK)[:-1]),
    "a byte too many": (pair(TICK)[0], encode(TICK) + b"\0"),
    "a branch that the union has not": (pair(TICK)[0], encode(TICK)[:-1] + b"\4"),
    "another such branch, with a value": (b"A", encode(Tick("A", 1, until=5))[:-3] + b"\4\x0a\0"),
    "a symbol of negative length": (b"A", altered(Tick("A", 1), 5, 3)),
    "a venue of negative length": (b"A", encode(Tick("A", 1, exchange="X")).replace(b"\2X", b"\3X")),
    "a negative length, and no venue": (b"A", encode(Tick("A", 1, exchange="X")).replace(b"\2X", b"\1")),
    "a negative kind": (b"A", encode(Tick("A", 1)).replace(b"\1\1\0", b"\1\1\1", 1)),
    "an unknown kind": (b"A", encode(Tick("A", 1)).replace(b"\1\1\0", b"\1\1\x0c", 1)),
    "a time of ten bytes": (b"A", encode(Tick("A", 1)).replace(b"A\2", b"A" + TEN_BYTES)),
    "a time without an end": (b"A", encode(Tick("A", 1)).replace(b"A\2", b"A" + b"\xff" * 9)),
    "an exchange that is no UTF-8": (b"A", encode(Tick("A", 1, exchange="X")).replace(b"\2X", b"\2\xff")),
    "a timestamp that is not ASCII": pair(replace(TICK, timestamp="１７")),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_is_odd_is_left_to_the_reader_of_single_records(odd: Pair) -> None:
    pairs = [pair(tick) for tick in ORDINARY]
    at = len(pairs) // 2
    for place in (0, at, len(pairs)):
        records = records_of([*pairs[:place], odd, *pairs[place:]])
        columns, others = prepared(records).columns(records)
        assert others == [place]
        assert len(columns) == len(pairs)


def test_all_is_left_to_it_while_no_schema_is_known() -> None:
    records = records_of([pair(tick) for tick in ORDINARY])
    columns, others = TickDecoder(FakeRegistry()).columns(records)
    assert len(columns) == 0
    assert others == list(range(len(ORDINARY)))


@pytest.mark.parametrize("count", [0, 1, 10])
def test_few_records_are_all_left_to_it(count: int) -> None:
    records = records_of([pair(tick) for tick in ORDINARY[:count]])
    columns, others = prepared(records).columns(records)
    assert len(columns) == 0
    assert others == list(range(count))


@pytest.mark.parametrize(("count", "symbols", "is_left"), [(400, 81, True), (400, 80, False), (1000, 600, False)])
def test_records_are_left_to_it_where_few_are_of_one_symbol(count: int, symbols: int, *, is_left: bool) -> None:
    ticks = [replace(trade(number), symbol=f"BINANCE:S{number % symbols}") for number in range(count)]
    records = records_of([pair(tick) for tick in ticks])
    columns, others = prepared(records).columns(records)
    assert len(columns) == (0 if is_left else count)
    assert others == (list(range(count)) if is_left else [])


def test_rolling_volumes_are_taken_out_as_from_single_records() -> None:
    bitcoin = replace(snapshot(3), day_volume=5)
    apple = replace(snapshot(0), day_volume=6)
    ticks = [
        *(bitcoin, replace(bitcoin, quote_type=8), replace(bitcoin, exchange="X"), replace(bitcoin, kind="trade")),
        *(replace(bitcoin, source="yahoo2"), apple, replace(apple, exchange="CCC"), replace(apple, exchange="CCCC")),
    ]
    records = records_of([pair(tick) for tick in ticks * 20])
    columns, others = prepared(records).columns(records)
    assert others == []
    assert columns.day_volume.tolist() == [-1, -1, -1, 5, 5, 6, -1, 6] * 20
    assert columns.kind[:4].tolist() == [SNAPSHOT, SNAPSHOT, SNAPSHOT, TRADE]


def test_two_ids_of_the_schema_are_read_alike() -> None:
    other = Encoder(TICK_SCHEMA_V2, 9)
    records = records_of(
        [(tick.symbol.encode(), (encode, other)[place % 2](tick)) for place, tick in enumerate(ORDINARY)]
    )
    columns, others = prepared(records).columns(records)
    assert others == []
    assert [columns.tick(place) for place in range(len(columns))] == ORDINARY


def test_many_records_have_one_numbering_of_symbols() -> None:
    ticks = [trade(number) for number in range(20_000)]
    records = records_of([pair(tick) for tick in ticks])
    columns, others = prepared(records).columns(records)
    assert others == []
    assert columns.place.tolist() == list(range(20_000))
    assert columns.symbols == ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:1000PEPEUSDT"]
    assert columns.symbol.tolist() == [number % 3 for number in range(20_000)]
    assert columns.tick(19_999) == ticks[19_999]


def test_the_schemas_of_records_are_fetched_once_each() -> None:
    values = [b"\0\0\0\0\1", b"\0\0\0\0\2 and more", b"{}", b"\0\0\0", None, b"", b"\0\0\0\0\2", b"\0\0\0\0\7"]
    registry = FakeRegistry()
    asyncio.run(TickDecoder(registry).prepare(records_of([(b"A", value) for value in values])))
    assert sorted(registry.asked) == [1, 2, 7]
