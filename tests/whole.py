"""Ticks and candles as the blocks of columns that the sink's reader makes of their records."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from stockstream.codecs import Encoder
from stockstream.codecs.whole import WholeCandleDecoder, WholeTickDecoder
from stockstream.core.archive import Archive, Coded, Column, Optional, Texts
from stockstream.core.candle_columns import CandleColumns
from stockstream.core.verdict import Policy
from stockstream.models import CANDLE_SCHEMA, TICK_SCHEMA_V2, Candle, Tick
from stockstream.models.records import Records
from stockstream.models.schema import AvroSchema
from stockstream.sinks.contract import CandleBlock, TickBlock


@dataclass(frozen=True, slots=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int


class OneSchema:
    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema

    async def schema(self, _schema_id: int) -> AvroSchema:
        return self._schema


def run(preparation: Coroutine[None, None, None]) -> None:
    """Run what waits for nothing, in a loop or without one."""
    with suppress(StopIteration):
        preparation.send(None)
        raise AssertionError("it waits")


def records_of(items: Sequence[tuple[int, Tick | Candle]]) -> Records:
    """The records of (offset, tick or candle)."""
    encode = {Tick: Encoder(TICK_SCHEMA_V2, 1), Candle: Encoder(CANDLE_SCHEMA, 1)}
    return Records.of([Record(item.symbol.encode(), encode[type(item)](item), offset) for offset, item in items])


def tick_block(
    topic: str, partition: int, items: Sequence[tuple[int, Tick]], policy: Policy | None = None
) -> TickBlock:
    """A block of (offset, tick), at least 80, all of which can be read as columns."""
    records, decoder = records_of(items), WholeTickDecoder(OneSchema(TICK_SCHEMA_V2), policy or Policy())
    run(decoder.prepare(records))
    columns, others = decoder.read(records)
    assert others == []
    return TickBlock(topic, partition, columns, records)


def candle_decoder() -> WholeCandleDecoder:
    """A decoder of `records_of` candles."""
    decoder = WholeCandleDecoder(OneSchema(CANDLE_SCHEMA))
    run(decoder.prepare(records_of([(0, _CANDLE)])))
    return decoder


_CANDLE = Candle("A", "1m", "regular", 0, 60_000, 1, 1, 1, 1, None, None, None, False, 1, 0, 60_000)


def read_however_few(decoder: WholeCandleDecoder, records: Records) -> tuple[CandleColumns, list[int]]:
    """As `WholeCandleDecoder.read`, which leaves few records to `decode`."""
    columns, others = decoder._columns.read(records, decoder._plain_headers)
    return columns, others.tolist()


def candle_block(decoder: WholeCandleDecoder, partition: int, items: Sequence[tuple[int, Candle]]) -> CandleBlock:
    """A block of (offset, candle), all of which can be read as columns; ``decoder`` is of `candle_decoder`."""
    records = records_of(items)
    columns, others = read_however_few(decoder, records)
    assert others == []
    return CandleBlock("candles", partition, columns, records)


def values_of(column: Column | None, count: int) -> list[object]:
    """What a column of the rest of ticks says, one value a tick."""
    if column is None:
        return [None] * count
    if isinstance(column, Texts):
        texts: list[object] = []
        at = 0
        while at < len(column.data):
            end = at + 1 + column.data[at]
            texts.append(column.data[at + 1 : end].decode())
            at = end
        return texts
    if isinstance(column, Coded):
        return [None if code < 0 else column.values[code] for code in column.codes.tolist()]
    if isinstance(column, Optional):
        pairs = zip(column.numbers.tolist(), column.present.tolist(), strict=True)
        return [number if is_there else None for number, is_there in pairs]
    return list(column.tolist())


def rest_of(archive: Archive) -> dict[str, list[object]]:
    """The fields that `Columns` lacks, one value a tick."""
    return {name: values_of(column, len(archive)) for name, column in archive.rest.items()}
