"""Records to and from Avro with the registry's framing: a zero byte, the schema's id (4 bytes, big-endian), the body.

Encoding and decoding never touch the network: `Encoder` is given its id, and a decoder fetches the schemas of a batch
in `prepare` before any of it is decoded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from io import BytesIO
from operator import attrgetter, itemgetter
from random import Random
from typing import Any, Generic, Protocol, TypeVar, cast

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from stockstream.codecs.candle_reader import CandleReader
from stockstream.codecs.candle_writer import CandleWriter
from stockstream.codecs.hot import HotReader
from stockstream.codecs.latest_writer import LatestWriter
from stockstream.codecs.optional import optional_tail
from stockstream.codecs.plain_json import decode_json
from stockstream.codecs.tick_columns import HEADER_BYTES, TickColumns, headers_of
from stockstream.codecs.tick_writer import UNFIT, TickWriter
from stockstream.codecs.version1 import downgrade, upgrade
from stockstream.codecs.walk import Ints
from stockstream.core.backoff import full_jitter
from stockstream.core.columns import Columns
from stockstream.errors import BadMessage, RegistryUnreachable
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, TICK_SCHEMA_V2, Candle, Latest, Tick, Verdict
from stockstream.models.records import Records
from stockstream.models.schema import AvroSchema

logger = logging.getLogger(__name__)
T = TypeVar("T")
_read = cast(Callable[..., dict[str, Any]], schemaless_reader)  # its own type allows for more than records

# Columns cost 220 to 360 us however few there are, a single record 3.7: they are even at 60 trades, at 100 snapshots.
_FEWEST_AS_COLUMNS = 80
# What is there of a symbol costs more as columns than tick by tick, until there are about five: its three rows are
# merged into one by one either way. Longer fetches are of a backlog: windows begin and end in them, written at once.
_FEWEST_A_SYMBOL = 5
_BACKLOG = 1000
_REMEMBERED_REFUSALS = 10_000
_CRYPTOCURRENCY = 41
# Everything that fastavro raises on schemas that are none, and on bytes that are not what their schema says.
_UNPARSABLE = (SchemaParseException, ValueError, LookupError, TypeError, AttributeError, RecursionError)
_UNDECODABLE = (EOFError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, SchemaResolutionError)


class BadRecord(BadMessage):
    """A record of a topic cannot be used; ``verdict`` is the reason that it is counted and put away under."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


class UnknownSchema(LookupError):
    """The schema that a record was written with has not been fetched: `prepare` comes before `decode`."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema {schema_id} has not been fetched")
        self.schema_id = schema_id


class SchemaSource(Protocol):
    """Where writers' schemas come from: a `Registry`."""

    async def schema(self, schema_id: int) -> AvroSchema:
        """Return the schema of an id; raise `BadMessage` if there is none, `RegistryUnreachable` if away."""
        ...


class Encoder:
    """Turns records of one schema into framed bytes; takes its dataclass, or a dict with every field.

    With version 1 of the tick schema it takes `Tick` and raises `InvalidInput` for kinds that it cannot carry.
    """

    def __init__(self, schema: AvroSchema, schema_id: int) -> None:
        self._header = b"\0" + schema_id.to_bytes(4, "big")
        self._names = tuple(field["name"] for field in schema["fields"])
        self._values = attrgetter(*self._names)
        self._is_version_1 = "timestamp" in self._names and "event_time" not in self._names
        # A record's bytes are its fields' one after the other, so it may be written in two parts.
        self._head_length, self._tail = optional_tail(schema["fields"])
        self._head = parse_schema({**schema, "fields": schema["fields"][: self._head_length]})
        self._nothing, self._nulls = (None,) * len(self._tail), bytes(len(self._tail))
        self._by_hand: dict[type, Callable[[Any], bytes]] = {}
        if schema == TICK_SCHEMA_V2:
            self._by_hand[Tick] = TickWriter(self._header)
        elif schema == CANDLE_SCHEMA:
            self._by_hand[Candle] = CandleWriter(self._header)
        elif schema == LATEST_SCHEMA:
            self._by_hand[Latest] = LatestWriter(self._header)

    def __call__(self, record: object) -> bytes:
        """Return the framed bytes of ``record``."""
        by_hand = self._by_hand.get(type(record))
        if by_hand is not None:
            try:
                return by_hand(record)
            except UNFIT:
                pass  # it is written, or refused, as a record of any other schema is
        if isinstance(record, dict):
            values = itemgetter(*self._names)(record)
        elif self._is_version_1 and isinstance(record, Tick):
            values = tuple(downgrade(record).values())
        else:
            values = self._values(record)
        stream = BytesIO()
        stream.write(self._header)
        schemaless_writer(stream, self._head, dict(zip(self._names, values, strict=False)))
        rest = values[self._head_length :]
        if rest == self._nothing:
            stream.write(self._nulls)
        else:
            stream.write(b"".join([written(value) for written, value in zip(self._tail, rest, strict=True)]))
        return stream.getvalue()


class _Framed(Generic[T]):
    """Reads framed bytes into ``record``, a dataclass whose fields are those of ``schema``, whoever wrote them."""

    def __init__(self, source: SchemaSource, record: type[T], schema: AvroSchema) -> None:
        self._source = source
        self._record = record
        self._names = tuple(field.name for field in fields(record))  # type: ignore[arg-type]  # T is a dataclass
        self._schema = parse_schema(schema)
        self._readers: dict[bytes, Callable[[BytesIO], T]] = {}
        self._refused: dict[bytes, str] = {}
        self.waits: str | None = None
        """What `prepare` waits for just now."""

    def _decode(self, value: bytes | None) -> T:
        if value is None:
            raise BadRecord(Verdict.CORRUPT, "the record has no value")
        reader = self._readers.get(value[:HEADER_BYTES])
        if reader is None:
            raise self._without_schema(value)
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        try:
            record = reader(stream)
        except BadMessage as error:
            raise BadRecord(Verdict.CORRUPT, str(error)) from error
        except _UNDECODABLE as error:
            raise BadRecord(Verdict.CORRUPT, f"no Avro of its schema: {type(error).__name__}: {error}") from error
        if stream.tell() != len(value):
            raise BadRecord(Verdict.CORRUPT, f"{len(value) - stream.tell()} bytes follow the record")
        return record

    async def prepare(self, values: Sequence[bytes | None] | Records) -> None:
        """Fetch the schemas that ``values`` were written with, waiting for the registry however long it is away.

        Ids that the registry does not know are asked for again with the next batch.
        """
        if not isinstance(values, Records):
            headers = {value[:HEADER_BYTES] for value in values if value is not None and value[:1] == b"\0"}
        elif len(values) < _FEWEST_AS_COLUMNS:
            headers = {header for header in values.beginnings(HEADER_BYTES) if header[:1] == b"\0"}
        else:
            headers = headers_of(values)
        for header in headers - self._readers.keys():
            if len(header) == HEADER_BYTES:
                await self._fetch(header)

    async def _fetch(self, header: bytes) -> None:
        schema_id = int.from_bytes(header[1:], "big")
        try:
            self._readers[header] = self._reader(await self._patiently(schema_id))
        except BadMessage as error:
            self._refuse(header, str(error))
        except _UNPARSABLE as error:
            self._refuse(header, f"schema {schema_id} is none: {type(error).__name__}: {error}")
        else:
            self._refused.pop(header, None)

    def _refuse(self, header: bytes, reason: str) -> None:
        self._refused[header] = reason
        while len(self._refused) > _REMEMBERED_REFUSALS:
            self._refused.pop(next(iter(self._refused)))

    async def _patiently(self, schema_id: int) -> AvroSchema:
        delays = full_jitter(0.2, 10.0, Random())  # noqa: S311 - jitter is no secret
        try:
            while True:
                try:
                    return await self._source.schema(schema_id)
                except RegistryUnreachable as error:
                    is_told = self.waits is not None
                    self.waits = f"waiting for schema {schema_id}: {error}"
                    if not is_told:
                        logger.warning("%s", self.waits)
                await asyncio.sleep(next(delays))
        finally:
            self.waits = None

    def _without_schema(self, value: bytes) -> Exception:
        header = value[:HEADER_BYTES]
        if len(header) < HEADER_BYTES or header[0] != 0:
            return BadRecord(
                Verdict.CORRUPT, f"no Avro with the registry's framing: begins {header.hex(' ') or 'empty'}"
            )
        if header in self._refused:
            return BadRecord(Verdict.CORRUPT, self._refused[header])
        return UnknownSchema(int.from_bytes(header[1:], "big"))

    def _reader(self, schema: AvroSchema) -> Callable[[BytesIO], T]:
        """Return the function that reads what was written with ``schema``."""
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise BadMessage(f"the schema {str(schema)[:80]!r} is no record's")
        writer = parse_schema(_plain(schema))
        # Equal schemas: without a reader's schema fastavro is twice as fast, and the fields come in our order.
        if writer == self._schema:
            return lambda stream: self._record(*_read(stream, writer, None).values())
        values = itemgetter(*self._names)
        return lambda stream: self._record(*values(_read(stream, writer, self._schema)))


class Decoder(_Framed[T]):
    """Turns the framed bytes of a topic's records into one dataclass."""

    def decode(self, value: bytes | None) -> T:
        """Return the record.

        Raises `BadRecord` if the bytes are none, `UnknownSchema` if `prepare` has not seen their schema's id.
        """
        return self._decode(value)


class CandleDecoder(_Framed[Candle]):
    """Turns the framed bytes of the topic of candles into candles."""

    def __init__(self, source: SchemaSource) -> None:
        super().__init__(source, Candle, CANDLE_SCHEMA)

    def decode(self, value: bytes | None) -> Candle:
        """Return the candle; raises as `Decoder.decode` does."""
        reader = None if value is None else self._readers.get(value[:HEADER_BYTES])
        if value is not None and isinstance(reader, CandleReader):
            return reader.quick(value, HEADER_BYTES) or self._decode(value)
        return self._decode(value)

    def _reader(self, schema: AvroSchema) -> Callable[[BytesIO], Candle]:
        read = super()._reader(schema)
        return CandleReader(read) if parse_schema(_plain(schema)) == self._schema else read


class TickDecoder(_Framed[Tick]):
    """Turns keyed records of a tick topic into ticks: both versions of the schema, and plain JSON.

    Vendors' rolling volumes are taken out: they are no cumulative volume of a day.
    """

    def __init__(self, source: SchemaSource) -> None:
        super().__init__(source, Tick, TICK_SCHEMA_V2)
        self._columns = TickColumns(self.decode)
        nothing, rest_at, _ = self._columns.read_to_rest(Records.of(()), ())
        self._nothing = nothing, rest_at

    def columns(self, records: Records) -> tuple[Columns, list[int]]:
        """The columns of the plain ones of ``records``, and the places of all others, for `decode`.

        Plain records are those that would be decoded to what their columns say. Of few records none counts as plain,
        nor where there are few of each symbol.
        """
        if _FEWEST_AS_COLUMNS <= len(records) < _BACKLOG and _are_few_a_symbol(records):
            return self._nothing[0], list(range(len(records)))
        columns, _, others = self.columns_to_rest(records)
        return columns, others

    def columns_to_rest(self, records: Records) -> tuple[Columns, Ints, list[int]]:
        """As `columns`; in between, where in ``records.data`` the rest of each plain record begins."""
        if len(records) < _FEWEST_AS_COLUMNS:
            columns, rest_at = self._nothing
            return columns, rest_at, list(range(len(records)))
        headers = [header for header, reader in self._readers.items() if isinstance(reader, HotReader)]
        columns, rest_at, others = self._columns.read_to_rest(records, headers)
        return columns, rest_at, others.tolist()

    def decode(self, key: bytes | None, value: bytes | None) -> Tick:
        """Return the tick.

        Raises `BadRecord` if the record has no key, its key is not the symbol, or its value is no tick, and
        `UnknownSchema` if `prepare` has not seen its schema's id.
        """
        if not key:
            raise BadRecord(Verdict.NO_KEY, "the record has no key: the symbol must be its key")
        if value is not None and value[:1] == b"{":
            try:
                tick = decode_json(value, key)
            except BadMessage as error:
                raise BadRecord(Verdict.CORRUPT, str(error)) from error
        else:
            tick = self._quick(value) or self._decode(value)
        if tick.symbol.encode() != key:
            raise BadRecord(Verdict.KEY_MISMATCH, f"the key is {key[:80]!r}, the symbol {tick.symbol[:80]!r}")
        if (
            tick.day_volume >= 0
            and tick.kind == "snapshot"
            and (tick.quote_type == _CRYPTOCURRENCY or tick.exchange == "CCC")
            and tick.source == "yahoo"
        ):
            tick.day_volume = -1
        return tick

    def _quick(self, value: bytes | None) -> Tick | None:
        reader = None if value is None else self._readers.get(value[:HEADER_BYTES])
        return reader.quick(value, HEADER_BYTES) if value is not None and isinstance(reader, HotReader) else None

    def _reader(self, schema: AvroSchema) -> Callable[[BytesIO], Tick]:
        read = super()._reader(schema)
        if parse_schema(_plain(schema)) == self._schema:
            return HotReader(read)
        if any(field["name"] == "event_time" for field in schema["fields"]):
            return read
        return lambda stream: upgrade(read(stream))


def _plain(schema: Any) -> Any:
    """``schema`` without logical types: times stay the integers they are written as."""
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    if isinstance(schema, list):
        return [_plain(value) for value in schema]
    return schema


def _are_few_a_symbol(records: Records) -> bool:
    places = zip(records.key_begin.tolist(), records.key_end.tolist(), strict=True)
    symbols = {records.data[begin:end] for begin, end in places}
    return len(records) < _FEWEST_A_SYMBOL * len(symbols)
