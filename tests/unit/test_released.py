"""Every row and every record that earlier versions have left can be read, and what newer ones write is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from places import rows_in_store
from released.data import (
    Release,
    away_file,
    later_file,
    read_candles,
    read_records,
    read_release,
    read_schemas,
    releases,
    topic_file,
    unpack,
    values_of,
)
from rocksdict import Options, Rdict

from stockstream.broker.stores import PartitionStore
from stockstream.codecs import Encoder, TickDecoder
from stockstream.codecs.avro import BadRecord, CandleDecoder, Decoder
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.latest import published_part
from stockstream.core.row import LAYOUT_VERSION, Row, row_is_closed, row_is_newer
from stockstream.errors import BadMessage, NewerState
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, TICK_SCHEMA_V2, Candle, Latest, Tick, Verdict
from stockstream.models.schema import AvroSchema
from stockstream.tables import LATEST, Tables, table_name
from stockstream.tables.rows import StoreRows, decode_key, encode_key
from stockstream.testing.topics import Record


class Schemas:
    """A registry that knows a release's schemas."""

    def __init__(self, schemas: dict[int, AvroSchema]) -> None:
        self._schemas = schemas

    async def schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in self._schemas:
            raise BadMessage(f"the schema registry knows no Avro schema with id {schema_id}")
        return self._schemas[schema_id]


@pytest.fixture(params=releases())
def release(request: pytest.FixtureRequest) -> Release:
    return read_release(request.param)


@pytest.fixture
def schemas(release: Release) -> Schemas:
    return Schemas({each["id"]: each["schema"] for each in read_schemas(release)})


@pytest.fixture
def data(release: Release, tmp_path: Path) -> Path:
    """The worker's data folder."""
    unpack(release, tmp_path)
    return tmp_path


def ticks_of(release: Release) -> list[Record]:
    files = [topic_file(release, release.topic_prefix + topic) for topic in release.tick_topics]
    return [record for file in (*files, away_file(release), later_file(release)) for _, record in read_records(file)]


def changelog(release: Release, table: str) -> Iterator[tuple[bytes, bytes]]:
    for _, record in read_records(topic_file(release, f"{release.app_id}-{table}-changelog")):
        assert record.key is not None
        assert record.value is not None
        yield record.key, record.value


def state(row: Row) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in fields(Row)} | {"ids": row.ids.bounds}


@pytest.mark.parametrize("interval", INTERVALS_MS)
def test_every_stored_row_is_read_and_written_again(release: Release, data: Path, interval: str) -> None:
    rows = rows_in_store(data, interval)
    newest: dict[bytes, bytes] = {}
    for key, value in changelog(release, table_name(interval)):
        assert state(Row.decode(Row.decode(value).encode())) == state(Row.decode(value))
        if key not in newest or row_is_newer(newest[key], value):
            newest[key] = value
    assert rows == {(interval, *decode_key(key)): value for key, value in newest.items()}
    assert {encode_key(at) for at in rows} == newest.keys()
    assert rows


def test_the_stored_rows_hold_all_that_rows_can(data: Path) -> None:
    """Or else they would prove little."""
    rows = [Row.decode(value) for interval in INTERVALS_MS for value in rows_in_store(data, interval).values()]
    bars = [row.bar for row in rows if row.bar is not None]
    kinds = {
        "open": any(not row.closed for row in rows),
        "closed": any(row.closed for row in rows),
        "amended": any(row.amended for row in rows),
        "repaired": any(row.repaired for row in rows),
        "joined": any(row.joined_ms for row in rows),
        "started": any(row.start_ms for row in rows),
        "ids": any(row.ids.bounds for row in rows),
        "without ids": any(not row.ids.bounds for row in rows),
        "cumulative": any(bar.cumulative is not None for bar in bars),
        "trades": any(bar.trades for bar in bars),
    }
    assert [kind for kind, is_there in kinds.items() if not is_there] == []


def stored_prices(data: Path) -> dict[str, bytes]:
    """The rows of the table of prices, as they are published."""
    found: dict[str, bytes] = {}
    for folder in data.rglob(f"{LATEST}-*.db"):
        store = Rdict(str(folder), options=Options(raw_mode=True))
        found |= {key.decode(): published_part(row) for key, row in store.items() if not key.startswith(b"__")}
        store.close()
    return found


async def test_every_stored_price_is_read_and_is_the_one_that_was_published(
    release: Release, schemas: Schemas, data: Path
) -> None:
    topic, stored, decoder = (
        f"{release.topic_prefix}latest",
        stored_prices(data),
        Decoder(schemas, Latest, LATEST_SCHEMA),
    )
    values = list(values_of(read_records(topic_file(release, topic)), topic))
    await decoder.prepare([*values, *stored.values()])
    published = {latest.symbol: latest for latest in map(decoder.decode, values)}
    assert {symbol: decoder.decode(value) for symbol, value in stored.items()} == published
    assert len(published) == 5


async def test_every_tick_is_read(release: Release, schemas: Schemas) -> None:
    decoder, records = TickDecoder(schemas), ticks_of(release)
    await decoder.prepare([record.value for record in records])
    ticks = [decoder.decode(record.key, record.value) for record in records]
    counts: defaultdict[str, int] = defaultdict(int)
    for tick in ticks:
        counts[tick.kind] += 1
    assert counts.keys() == {"trade", "snapshot", "start", "gap", "repair"}
    assert [tick.symbol.encode() for tick in ticks] == [record.key for record in records]
    encode = Encoder(TICK_SCHEMA_V2, 1)
    again = TickDecoder(Schemas({1: TICK_SCHEMA_V2}))
    await again.prepare([encode(tick) for tick in ticks])
    assert [again.decode(tick.symbol.encode(), encode(tick)) for tick in ticks] == ticks


async def test_every_candle_is_read_and_the_greatest_versions_are_those_expected(
    release: Release, schemas: Schemas
) -> None:
    topic, decoder = f"{release.topic_prefix}candles", CandleDecoder(schemas)
    values = list(values_of(read_records(topic_file(release, topic)), topic))
    await decoder.prepare(values)
    newest: dict[tuple[str, str, str, int], Candle] = {}
    for candle in map(decoder.decode, values):
        if candle.key not in newest or candle.version >= newest[candle.key].version:
            newest[candle.key] = candle
    assert newest == read_candles(release, "candles")


async def test_every_dead_letter_is_told_with_its_reason(release: Release, schemas: Schemas) -> None:
    decoder = TickDecoder(schemas)
    letters = [record for _, record in read_records(topic_file(release, f"{release.topic_prefix}dead-letters"))]
    await decoder.prepare([letter.value for letter in letters])
    assert {str(letter.headers["reason"], "utf-8") for letter in letters if letter.headers["reason"]} == {
        "late",
        "bad price",
    }  # type: ignore[arg-type]
    assert all(isinstance(decoder.decode(letter.key, letter.value), Tick) for letter in letters)


def test_rows_of_a_newer_layout_are_refused_with_what_to_do(release: Release, tables: Tables) -> None:
    stores = {interval: PartitionStore(tables.candles[interval].table, 0) for interval in INTERVALS_MS}
    rows = dict(changelog(release, table_name("1m")))
    stores["1m"].write(rows.items())
    assert list(StoreRows(stores).load(lambda _: 0))
    key, value = next((key, value) for key, value in rows.items() if row_is_closed(value))  # needed by nobody just now
    stores["1m"].write([(key, bytes([LAYOUT_VERSION + 1]) + value[1:])])
    with pytest.raises(NewerState, match=rf"layout {LAYOUT_VERSION + 1}, and this version .*: go back to") as told:
        list(StoreRows(stores).load(lambda _: 0))
    assert "\n" not in str(told.value)


def newer(schema: AvroSchema, **field: Any) -> AvroSchema:
    """A schema of the future: with one more field, or with another one in place of one that there is."""
    return {**schema, "fields": [each for each in schema["fields"] if each["name"] != field["name"]] + [field]}


TICK = Tick("AAPL", 1_795_530_600_000, 271.5, kind="snapshot", day_volume=7)
CANDLE = Candle("A", "1m", "regular", 0, 60_000, 1, 1, 1, 1, None, None, None, False, 1, 0, 60_000)


async def test_a_field_of_the_future_is_passed_over() -> None:
    for record, schema in ((TICK, TICK_SCHEMA_V2), (CANDLE, CANDLE_SCHEMA)):
        later = newer(schema, name="venue_code", type="string", default="")
        values = {each["name"]: getattr(record, each["name"], "x") for each in later["fields"]}
        data = Encoder(later, 9)(values)
        decoder: Any = TickDecoder(Schemas({9: later})) if record is TICK else CandleDecoder(Schemas({9: later}))
        await decoder.prepare([data])
        assert (decoder.decode(b"AAPL", data) if record is TICK else decoder.decode(data)) == record


async def test_a_record_of_the_future_that_cannot_be_read_is_refused_in_one_line() -> None:
    later = newer(TICK_SCHEMA_V2, name="price", type="string")
    values = {each["name"]: getattr(TICK, each["name"]) for each in later["fields"]}
    data = Encoder(later, 9)(values | {"price": "271.5"})
    decoder = TickDecoder(Schemas({9: later}))
    await decoder.prepare([data])
    with pytest.raises(BadRecord, match="no Avro of its schema: SchemaResolutionError") as told:
        decoder.decode(b"AAPL", data)
    assert told.value.verdict is Verdict.CORRUPT
    unknown = TickDecoder(Schemas({}))
    await unknown.prepare([data])
    with pytest.raises(BadRecord, match="the schema registry knows no Avro schema with id 9"):
        unknown.decode(b"AAPL", data)
