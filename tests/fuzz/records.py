"""Records of topics, rows of stores, and the batches that brokers send."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.util import calc_crc32c
from fuzz.feeds import written
from fuzz.mutation import Corpus
from fuzz.target import Take, TakeAll, Target, Wrong, accepted, of_both
from raw_batches import CODECS, Item, batch, old_batch
from whole import OneSchema, Record, run

from stockstream.broker.record_batches import read_records
from stockstream.codecs import Encoder
from stockstream.codecs.avro import BadRecord, CandleDecoder, Decoder, TickDecoder
from stockstream.codecs.candle_columns import CandleColumnsReader
from stockstream.codecs.plain_json import decode_json
from stockstream.codecs.tick_columns import TickColumns
from stockstream.core.interval import INTERVALS_MS, SESSIONS
from stockstream.core.partial import Cumulative, Partial
from stockstream.core.row import Row
from stockstream.core.trade_ids import TradeIds
from stockstream.errors import BadMessage
from stockstream.models import (
    CANDLE_SCHEMA,
    LATEST_SCHEMA,
    TICK_SCHEMA_V1,
    TICK_SCHEMA_V2,
    Candle,
    Latest,
    Tick,
    is_symbol,
)
from stockstream.models.records import Records
from stockstream.models.schema import AvroSchema
from stockstream.tables.rows import decode_key, encode_key

T0_MS = 1_763_000_000_000
_SEEDS = Path(__file__).parents[1] / "data" / "seeds"
_FIELDS_IN_ANOTHER_ORDER: AvroSchema = {**TICK_SCHEMA_V2, "fields": TICK_SCHEMA_V2["fields"][::-1]}
_SCHEMAS = {1: TICK_SCHEMA_V1, 2: TICK_SCHEMA_V2, 3: _FIELDS_IN_ANOTHER_ORDER}

TICKS = [
    Tick("AAPL", T0_MS, 189.37, 100.0, trade_id=17, producer_timestamp=T0_MS + 5, source="finnhub", exchange="US"),
    Tick("BTC-USD", T0_MS, 91_000.5, 0.0, 12, -1, "snapshot", T0_MS, str(T0_MS), "CCC", 41, 1, 0.1, -2.5, "2"),
    Tick("BINANCE:BTCUSDT", T0_MS + 1, 1e-8, 1e-8, trade_id=2**60, source="binance", sequence=2**40, currency="USDT"),
    Tick("SSI:VCB", T0_MS, 22_950.0, 100.0, 8_797_700, -1, "trade", T0_MS, source="ssi", conditions="LO,BU", bid=1.5),
    Tick("A", T0_MS, 1.0, kind="quote", volume_24h=3.5, trades_24h=12, price_change_24h=-1.0, source="ticker_24h"),
    Tick("A", T0_MS, kind="gap", until=T0_MS + 9, cause="silent"),
    Tick("S" * 64, -1, -0.0, float("inf"), kind="start", timestamp="Ü" * 40, exchange="SIXTEEN-LETTERS-"),
]
_CANDLE = Candle(
    "BTC-USD", "1m", "regular", T0_MS, T0_MS + 60_000, 10.0, 12.5, 9.5, 11.0, 4.25, 10.75, 3, True,
    2**56 + 17, T0_MS, T0_MS + 60_000, state="closed",
)  # fmt: skip
CANDLES = [
    _CANDLE,
    replace(_CANDLE, volume=None, vwap=None, trades=None, state="forming", is_closed=False),
    replace(_CANDLE, symbol="S" * 64, interval="1d", session="extended", partial=True, gap=True, corrected=True),
]
_LATEST = Latest("BTC-USD", 37_000.5, -12.25, -0.033, "regular", T0_MS, T0_MS + 5, 7, 2**56, "yahoo", "CCC")


class _Schemas:
    async def schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in _SCHEMAS:
            raise BadMessage(f"no schema {schema_id}")
        return _SCHEMAS[schema_id]


def keyed(key: bytes, value: bytes) -> bytes:
    """A record as one input: the key behind a byte that says how long it is, then the value."""
    return bytes([len(key)]) + key + value


def parts(data: bytes) -> tuple[bytes | None, bytes]:
    """Key and value of such an input."""
    size = data[0] if data else 0
    return data[1 : 1 + size] or None, data[1 + size :]


def _ticks() -> list[Corpus]:
    second, other = Encoder(TICK_SCHEMA_V2, 2), Encoder(_FIELDS_IN_ANOTHER_ORDER, 3)
    items = [keyed(tick.symbol.encode(), second(tick)) for tick in TICKS]
    items += [keyed(tick.symbol.encode(), other(tick)) for tick in TICKS[:2]]
    first = json.loads((_SEEDS / "stock_v1.json").read_text())
    items.append(keyed(first["symbol"].encode(), Encoder(TICK_SCHEMA_V1, 1)(first)))
    return [Corpus(items[: len(TICKS)]), Corpus(items)]


def _open_ticks(_folder: Path) -> Take:
    decoder, check = TickDecoder(_Schemas()), written()
    run(decoder.prepare([bytes([0, 0, 0, 0, schema_id]) for schema_id in range(256)]))

    def take(data: bytes) -> int:
        key, value = parts(data)
        if value[:1] == b"\0" and value[1:4] != b"\0\0\0" and len(value) >= 5:
            value = b"\0\0\0\0" + value[4:]  # the others are asked for first
        check(decoder.decode(key, value))
        return True

    return take


def _open_columns(_folder: Path) -> TakeAll:
    decoder = TickDecoder(_Schemas())
    run(decoder.prepare([bytes([0, 0, 0, 0, schema_id]) for schema_id in _SCHEMAS]))
    columns_of = TickColumns(decoder.decode)

    def take(block: Sequence[bytes]) -> int:
        records = _records(block)
        columns, others = columns_of.read(records, [b"\0\0\0\0\2"])
        places = columns.place.tolist()
        of_both(sorted([*places, *others.tolist()]), list(range(len(records))), "places")
        ticks = [_decoded(decoder, records, place) for place in places]
        read = zip(
            (columns.symbols[symbol] for symbol in columns.symbol),
            (columns.venues[venue] for venue in columns.venue),
            *(getattr(columns, name).tolist() for name in (*_COLUMNS, "received", "sequence", "has_sequence")),
            strict=True,
        )
        for tick, (symbol, venue, *numbers, sequence, has_sequence) in zip(ticks, read, strict=True):
            told = [tick.symbol, (tick.source, tick.exchange), *(getattr(tick, name) for name in _COLUMNS)]
            told += [tick.producer_timestamp, tick.sequence]
            of_both([symbol, venue, *numbers, sequence if has_sequence else None], told, "a tick in columns and alone")
        return len(ticks)

    return take


_COLUMNS = ("event_time", "price", "last_size", "day_volume", "trade_id")


def _decoded(decoder: TickDecoder, records: Records, place: int) -> Tick:
    try:
        return decoder.decode(records.key(place), records.value(place))
    except BadRecord as error:
        raise Wrong(f"read as columns, and refused alone: {error}") from error


def _records(block: Sequence[bytes]) -> Records:
    return Records.of([Record(*parts(data), at) for at, data in enumerate(block)])


def _json_ticks() -> list[Corpus]:
    ticks = [json.dumps(asdict(tick)).encode() for tick in TICKS[:6]]
    tickers = (_SEEDS / "ticker_24h.jsonl").read_bytes().splitlines()
    return [Corpus([*ticks, (_SEEDS / "stock_v1.json").read_bytes(), *tickers], is_text=True)]


def _open_json_ticks(_folder: Path) -> Take:
    check, decoder = written(), TickDecoder(_Schemas())

    def take(data: bytes) -> int:
        symbol = decode_json(data).symbol.encode()
        check(decoder.decode(symbol, data.lstrip()))
        return True

    return take


def _candles() -> list[Corpus]:
    return [Corpus([Encoder(CANDLE_SCHEMA, 1)(candle) for candle in CANDLES])]


def _open_candles(_folder: Path) -> TakeAll:
    decoder, reader, encode = CandleDecoder(OneSchema(CANDLE_SCHEMA)), CandleColumnsReader(), Encoder(CANDLE_SCHEMA, 1)
    run(decoder.prepare([b"\0\0\0\0\1"]))

    def take(block: Sequence[bytes]) -> int:
        values = [b"\0\0\0\0\1" + value[5:] for value in block]
        alone: dict[int, Candle] = {}
        for at, value in enumerate(values):
            with suppress(BadRecord):
                alone[at] = candle = decoder.decode(value)
                with accepted():
                    of_both(decoder.decode(encode(candle)), candle, "a candle that was written again")
        columns, _ = reader.read(Records.of([Record(b"key", v, at) for at, v in enumerate(values)]), [b"\0\0\0\0\1"])
        for index, place in enumerate(columns.place.tolist()):
            of_both(columns.candle(index), alone.get(place), "a candle in columns and alone")
        return len(alone)

    return take


def _latest() -> list[Corpus]:
    return [Corpus([Encoder(LATEST_SCHEMA, 1)(each) for each in (_LATEST, replace(_LATEST, bid=1.5, currency="USD"))])]


def _open_latest(_folder: Path) -> Take:
    decoder, encode = Decoder(OneSchema(LATEST_SCHEMA), Latest, LATEST_SCHEMA), Encoder(LATEST_SCHEMA, 1)
    run(decoder.prepare([b"\0\0\0\0\1"]))

    def take(data: bytes) -> int:
        latest = decoder.decode(b"\0\0\0\0\1" + data[5:])
        with accepted():
            of_both(decoder.decode(encode(latest)), latest, "a price that was written again")
        return True

    return take


def _schemas() -> list[Corpus]:
    schemas = (TICK_SCHEMA_V1, TICK_SCHEMA_V2, _FIELDS_IN_ANOTHER_ORDER)
    words = [
        b'"null"',
        b'"long"',
        b'"string"',
        b'"bytes"',
        b'"double"',
        b'"record"',
        b'"enum"',
        b'"Kind"',
        b"null",
        b"[]",
    ]
    words += [
        b"{}",
        b"1",
        b'["null","long"]',
        b'{"type":"array","items":"int"}',
        b'{"type":"fixed","name":"f","size":2}',
    ]
    words += [b'"yahoo.Tick"', b'"aliases"', b'"default"', b'"logicalType"', b'"symbols"', b'""', b'"."', b'"1"']
    return [Corpus([json.dumps(schema).encode() for schema in schemas], is_text=True, words=words)]


def _open_schemas(_folder: Path) -> Take:
    """Takes writers' schemas: whatever the registry says one is, records of it are read or refused."""
    values = [Encoder(schema, schema_id)(tick) for schema_id, schema in _SCHEMAS.items() for tick in TICKS[:2]]

    def take(data: bytes) -> int:
        try:
            schema = json.loads(data)
        except (ValueError, RecursionError):
            return False  # the registry's client tells that apart
        decoder, count = TickDecoder(OneSchema(schema)), 0
        for value in values:
            framed = b"\0\0\0\0\1" + value[5:]
            run(decoder.prepare([framed]))
            with suppress(BadRecord):
                decoder.decode(b"AAPL", framed)
                count += 1
        return count

    return take


def _rows() -> list[Corpus]:
    edge = (T0_MS, 17, T0_MS + 5, 10.5)
    bar = Partial(edge, edge, 11.0, 10.0, 425_000_000, 44.6, 0.0, 3)
    seen = Partial(edge, edge, 11.0, 10.0, -1, 44.6, 1e-9, 3, Cumulative((T0_MS, 5), (T0_MS, 9), 9, 17))
    rows = [
        Row(7),
        Row(7, 2**55 + 3, bar, closed=True, clock="yahoo/NMS", ids=TradeIds([1, 5, 9, 2**40]), closed_at=9),
        Row(2**32 - 1, 5, seen, amended=True, gap=True, gap_until_ms=T0_MS, duplicates=[1, 2, 300], baseline=(1, 2, 3)),
        Row(1, 5, bar, holes=[T0_MS, T0_MS + 9], repaired=[(1, 2, 3), (4, 5, 6)], blind=True, start_ms=4, joined_ms=5),
    ]
    return [Corpus([row.encode() for row in rows])]


def _open_rows(_folder: Path) -> Take:
    def take(data: bytes) -> int:
        row = Row.decode(data)
        with accepted():
            again = row.encode()
            of_both(Row.decode(again).encode(), again, "a row that was written again")
        return True

    return take


def _keys() -> list[Corpus]:
    names = ("AAPL", "BINANCE:BTCUSDT", "S" * 64)
    keys = [encode_key((interval, (name, "regular"), T0_MS)) for interval in INTERVALS_MS for name in names]
    return [Corpus(keys), Corpus(keys, is_text=True)]


def _open_keys(_folder: Path) -> Take:
    def take(data: bytes) -> int:
        key, start_ms = decode_key(data)
        if not is_symbol(key[0]) or key[1] not in SESSIONS:
            return False  # of no row that was ever written
        with accepted():
            again = encode_key(("1m", key, start_ms))
            of_both(decode_key(again), (key, start_ms), "a key that was written again")
        return True

    return take


def _batches(seal: Callable[[bytes], bytes]) -> list[Corpus]:
    many = [Item(b"key%d" % at, b"value%d" % at * (at % 7)) for at in range(80)]
    few = [Item(), Item(None, b""), Item(b"", None, headers=[("a", b"b"), ("c", None)], skipped=3)]
    sets = [batch(5, items, codec) for items in (many, few) for codec in CODECS]
    sets += [batch(0, few[:1]) + batch(1, many), batch(0, few, control=True), batch(0, few, tail_offsets=3)]
    sets += [old_batch(magic, few[:2], codec) for magic in (0, 1) for codec in ("none", "gzip")]
    return [Corpus(sets, seal)]


def sealed(data: bytes) -> bytes:
    """The same with the checksum of what is taken for its first batch, so that what it holds is looked at."""
    if len(data) < 61 or data[16] != 2:
        return data
    size = 12 + int.from_bytes(data[8:12], "big")
    end = size if 61 <= size <= len(data) else len(data)
    head = data[:8] + (end - 12).to_bytes(4, "big") + data[12:17]
    return head + calc_crc32c(data[21:end]).to_bytes(4, "big") + data[21:]


def _open_batches(_folder: Path) -> Take:
    def take(data: bytes) -> int:
        records, position = read_records(data, 5)
        if records is None:
            return False
        whole = [(records.key(at), records.value(at), records.offset(at)) for at in range(len(records))]
        for key, value, offset in whole:
            if offset < 5 or offset >= position:
                raise Wrong(f"offset {offset} of a fetch from 5 on, up to {position}")
            if (key is not None and len(key) > len(records.data)) or (
                value is not None and len(value) > len(records.data)
            ):
                raise Wrong("more bytes than there are")
        return len(whole)

    return take


TARGETS = [
    Target("ticks", "records of tick topics, one by one", _ticks, _open_ticks, (BadRecord,)),
    Target("tick-columns", "the same as columns, against one by one", _ticks, _open_columns, is_batch=True),
    Target("json-ticks", "ticks in plain JSON", _json_ticks, _open_json_ticks, (BadMessage,)),
    Target("candles", "records of `candles`, as columns and one by one", _candles, _open_candles, is_batch=True),
    Target("latest", "records of `latest`", _latest, _open_latest, (BadRecord,)),
    Target("writers-schemas", "schemas that a registry may name", _schemas, _open_schemas, inputs=50_000),
    Target("rows", "stored rows of candles", _rows, _open_rows, (ValueError,)),
    Target("keys", "keys of stored rows", _keys, _open_keys, (ValueError,)),
    Target(
        "batches",
        "record batches with their checksum",
        lambda: _batches(sealed),
        _open_batches,
        (CorruptRecordException, UnsupportedCodecError),
    ),
    Target(
        "damaged-batches",
        "record batches whose checksum is not mended",
        lambda: _batches(bytes),
        _open_batches,
        (CorruptRecordException, UnsupportedCodecError),
    ),
]
