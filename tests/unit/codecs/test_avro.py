from __future__ import annotations

import copy
import io
import logging
from dataclasses import asdict, replace
from typing import Any

import fastavro
import pytest

from stockstream.codecs import BadRecord, Decoder, Encoder, TickDecoder, UnknownSchema
from stockstream.core.verdict import Policy
from stockstream.errors import BadMessage, InvalidInput, RegistryUnreachable
from stockstream.models import CANDLE_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2, Candle, Tick, Verdict
from stockstream.models.schema import AvroSchema

V1, V2, CANDLE, TIMED = 1, 2, 3, 4
KEY = b"AAPL"
TICK = Tick("AAPL", 1_700_000_000_000, 189.37, 10.0, trade_id=5, producer_timestamp=1_700_000_000_100, source="x")
SEED: dict[str, Any] = {
    "symbol": "AAPL", "price": 189.37, "timestamp": "1700000000000", "exchange": "NMS", "quote_type": 8,
    "market_hours": 0, "change_percent": 0.61, "day_volume": 0, "change": -1.15, "last_size": 0, "price_hint": "2",
    "producer_timestamp": 1_700_000_000_100,
}  # fmt: skip


def timed() -> AvroSchema:
    """Version 2 as a foreign producer may write it: with a logical type, a field of its own and another order."""
    schema = copy.deepcopy(TICK_SCHEMA_V2)
    for field in schema["fields"]:
        if field["name"] == "event_time":
            field["type"] = {"type": "long", "logicalType": "timestamp-millis"}
    schema["fields"] = [{"name": "colour", "type": "string", "default": "red"}, *reversed(schema["fields"])]
    return schema


class FakeRegistry:
    """Holds schemas by id; is away for its first ``absences`` requests."""

    def __init__(self, absences: int = 0) -> None:
        self.schemas: dict[int, Any] = {V1: TICK_SCHEMA_V1, V2: TICK_SCHEMA_V2, CANDLE: CANDLE_SCHEMA, TIMED: timed()}
        self.absences = absences
        self.asked: list[int] = []

    async def schema(self, schema_id: int) -> AvroSchema:
        self.asked.append(schema_id)
        if len(self.asked) <= self.absences:
            raise RegistryUnreachable("the schema registry does not answer")
        if schema_id not in self.schemas:
            raise BadMessage(f"no schema {schema_id}")
        schema: AvroSchema = self.schemas[schema_id]
        return schema


async def decoded(value: bytes, key: bytes | None = KEY) -> Tick:
    decoder = TickDecoder(FakeRegistry())
    await decoder.prepare([value])
    return decoder.decode(key, value)


def test_the_frame_is_a_zero_byte_and_the_id() -> None:
    assert Encoder(TICK_SCHEMA_V2, 0x01020304)(TICK)[:5] == b"\x00\x01\x02\x03\x04"


async def test_a_tick_comes_back_as_it_was() -> None:
    assert await decoded(Encoder(TICK_SCHEMA_V2, V2)(TICK)) == TICK


async def test_a_foreign_writers_order_fields_and_logical_types_do_not_matter() -> None:
    value = Encoder(timed(), TIMED)({**asdict(TICK), "colour": "blue"})
    assert await decoded(value) == TICK


async def test_the_seed_format_is_read_as_a_snapshot_with_its_own_digits() -> None:
    tick = await decoded(Encoder(TICK_SCHEMA_V1, V1)(SEED))
    assert tick == Tick(
        "AAPL", 1_700_000_000_000, 189.37, kind="snapshot", timestamp="1700000000000", exchange="NMS", quote_type=8,
        market_hours=0, change_percent=0.61, change=-1.15, price_hint="2", producer_timestamp=1_700_000_000_100,
    )  # fmt: skip


async def test_a_tick_written_as_version_1_is_read_as_its_snapshot() -> None:
    tick = await decoded(Encoder(TICK_SCHEMA_V1, V1)(Tick("AAPL", 1_700_000_000_000, 189.37, day_volume=1000)))
    assert (tick.event_time, tick.price, tick.day_volume, tick.kind) == (1_700_000_000_000, 189.37, 1000, "snapshot")


def test_version_1_refuses_control_records() -> None:
    with pytest.raises(InvalidInput):
        Encoder(TICK_SCHEMA_V1, V1)(Tick("AAPL", 1, kind="start"))


async def test_plain_json_is_read_without_a_registry() -> None:
    registry = FakeRegistry()
    decoder = TickDecoder(registry)
    value = b'{"symbol": "AAPL", "price": 1.5, "event_time": 3}'
    await decoder.prepare([value])
    assert decoder.decode(KEY, value).price == 1.5
    assert registry.asked == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"quote_type": 41}, -1),
        ({"exchange": "CCC"}, -1),
        ({"quote_type": 8}, 500),
        ({"quote_type": 41, "source": "binance"}, 500),
        ({"quote_type": 41, "kind": "trade"}, 500),
    ],
)
async def test_a_rolling_volume_is_no_cumulative_volume(change: dict[str, Any], expected: int) -> None:
    record = {**asdict(TICK), "source": "yahoo", "kind": "snapshot", "day_volume": 500, **change}
    assert (await decoded(Encoder(TICK_SCHEMA_V2, V2)(record))).day_volume == expected


GOOD = Encoder(TICK_SCHEMA_V2, V2)(TICK)


@pytest.mark.parametrize(
    ("key", "value", "verdict"),
    [
        (None, GOOD, Verdict.NO_KEY),
        (b"", GOOD, Verdict.NO_KEY),
        (None, None, Verdict.NO_KEY),
        (b'"AAPL"', GOOD, Verdict.KEY_MISMATCH),
        (b"\xff", GOOD, Verdict.KEY_MISMATCH),
        (KEY, None, Verdict.CORRUPT),
        (KEY, b"", Verdict.CORRUPT),
        (KEY, b"\x00\x00\x00", Verdict.CORRUPT),
        (KEY, b"\x01" + GOOD[1:], Verdict.CORRUPT),
        (KEY, GOOD[:-1], Verdict.CORRUPT),
        (KEY, GOOD + b"\0", Verdict.CORRUPT),
        (KEY, GOOD[:5], Verdict.CORRUPT),
        (KEY, GOOD[:5] + b"\x08\xff\xff\xff\xff", Verdict.CORRUPT),
        (KEY, GOOD[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", Verdict.CORRUPT),
        (KEY, b"\0\0\0\0\x63body", Verdict.CORRUPT),
        (KEY, b"\0\0\0\0\x03" + GOOD[5:], Verdict.CORRUPT),
        (KEY, Encoder(TICK_SCHEMA_V1, V1)({**SEED, "timestamp": "noon"}), Verdict.CORRUPT),
        (KEY, b"{}", Verdict.CORRUPT),
    ],
)
async def test_what_cannot_be_used_has_its_verdict(key: bytes | None, value: bytes | None, verdict: Verdict) -> None:
    decoder = TickDecoder(FakeRegistry())
    await decoder.prepare([value])
    with pytest.raises(BadRecord) as bad:
        decoder.decode(key, value)
    assert bad.value.verdict is verdict


def test_a_schema_that_was_not_prepared_is_asked_for_by_its_id() -> None:
    with pytest.raises(UnknownSchema) as unknown:
        TickDecoder(FakeRegistry()).decode(KEY, GOOD)
    assert unknown.value.schema_id == V2
    assert not isinstance(unknown.value, BadMessage)


async def test_a_batch_asks_for_each_schema_once() -> None:
    registry = FakeRegistry()
    decoder = TickDecoder(registry)
    for _ in range(2):
        await decoder.prepare([GOOD, None, b"", b"\0\0", Encoder(TICK_SCHEMA_V1, V1)(SEED), GOOD])
    assert sorted(registry.asked) == [V1, V2]


async def test_an_id_that_becomes_known_is_used() -> None:
    registry = FakeRegistry()
    late = registry.schemas.pop(V2)
    decoder = TickDecoder(registry)
    await decoder.prepare([GOOD])
    with pytest.raises(BadRecord, match="no schema 2"):
        decoder.decode(KEY, GOOD)
    registry.schemas[V2] = late
    await decoder.prepare([GOOD])
    assert decoder.decode(KEY, GOOD) == TICK


NESTED: Any = "string"
for _ in range(2000):
    NESTED = {"type": "array", "items": NESTED}


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        ["null", "string"],
        {"type": "record"},
        {"type": "map", "values": "int"},
        {"type": "record", "name": "tick"},
        {"type": "record", "name": "tick", "fields": [{"name": "symbol", "type": {}}]},
        {"type": "record", "name": "tick", "fields": 1},
        {"type": "record", "name": 1, "fields": []},
        {"type": "record", "name": "tick", "fields": [{"name": "symbol", "type": NESTED}]},
    ],
)
async def test_an_id_of_something_else_is_the_records_fault(schema: Any) -> None:
    registry = FakeRegistry()
    registry.schemas[V2] = schema
    decoder = TickDecoder(registry)
    await decoder.prepare([GOOD])
    with pytest.raises(BadRecord):
        decoder.decode(KEY, GOOD)


async def test_an_absent_registry_is_waited_for(caplog: pytest.LogCaptureFixture, quickly: None) -> None:
    registry = FakeRegistry(absences=5)
    decoder = TickDecoder(registry)
    with caplog.at_level(logging.INFO, logger="stockstream"):
        await decoder.prepare([GOOD])
    assert decoder.decode(KEY, GOOD) == TICK
    assert len(caplog.records) == 1


async def test_what_is_waited_for_is_said_until_it_is_there(quickly: None) -> None:
    said: list[str | None] = []

    class Watched(FakeRegistry):
        async def schema(self, schema_id: int) -> AvroSchema:
            said.append(decoder.waits)
            return await super().schema(schema_id)

    decoder = TickDecoder(Watched(absences=2))
    await decoder.prepare([GOOD])
    told = f"waiting for schema {V2}: the schema registry does not answer"
    assert [*said, decoder.waits] == [None, told, told, None]


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.Random.uniform", lambda self, low, high: 0.0)


async def test_candles_come_back_as_they_were() -> None:
    candle = Candle("AAPL", "1m", "regular", 0, 60_000, 1.0, 2.0, 0.5, 1.5, None, None, 3, True, 9, 0, 60_000)
    decoder = Decoder(FakeRegistry(), Candle, CANDLE_SCHEMA)
    value = Encoder(CANDLE_SCHEMA, CANDLE)(candle)
    await decoder.prepare([value])
    assert decoder.decode(value) == candle
    with pytest.raises(BadRecord):
        decoder.decode(None)


def test_readers_and_writers_of_before_there_were_repairs_get_along_with_those_of_now() -> None:
    """What a reader of before takes for a snapshot has no price, and moves no candle."""
    before = copy.deepcopy(TICK_SCHEMA_V2)
    (kind,) = (field["type"] for field in before["fields"] if field["name"] == "kind")
    kind["symbols"].remove("repair")

    def read(tick: Tick, written: AvroSchema, wanted: AvroSchema) -> Any:
        data = io.BytesIO()
        fastavro.schemaless_writer(data, fastavro.parse_schema(copy.deepcopy(written)), asdict(tick))
        data.seek(0)
        return fastavro.schemaless_reader(data, copy.deepcopy(written), copy.deepcopy(wanted))

    gap = Tick("A", 1_700_000_000_000, kind="gap", until=1_700_000_000_500)
    assert Tick(**read(gap, before, TICK_SCHEMA_V2)) == gap
    misread = Tick(**read(replace(gap, kind="repair"), TICK_SCHEMA_V2, before))
    assert misread.kind == "snapshot"
    assert Policy().judge(misread) is Verdict.BAD_PRICE
