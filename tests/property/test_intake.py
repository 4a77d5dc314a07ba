"""A fetch read as columns changes the same as one read record by record: rows, candles, prices, letters, verdicts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from columns import columns_of
from hypothesis import given
from hypothesis import strategies as st
from ticks import streams

from stockstream.agents.intake import letters_of, take_in
from stockstream.codecs.avro import Encoder, TickDecoder
from stockstream.core.columns import Columns
from stockstream.core.engine import Engine
from stockstream.core.interval import INTERVALS_MS, Address
from stockstream.core.latest import newest_of, rank_of
from stockstream.core.row import Row, stamp
from stockstream.core.rows import Rows
from stockstream.core.verdict import Policy
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.models.records import Records

EPOCH = 1
BAD = [b"", b"{", b"\0\0\0\0\7", b"\0\0\0\0\x09abc", b"junk"]


class OneSchema:
    async def schema(self, schema_id: int) -> Any:
        return TICK_SCHEMA_V2


class OneByOne(TickDecoder):
    """Reads nothing as columns."""

    def columns(self, records: Records) -> tuple[Columns, list[int]]:
        return columns_of([]), list(range(len(records)))


encode = Encoder(TICK_SCHEMA_V2, 7)
forms = st.sampled_from(["avro"] * 12 + ["json", "cut"])


def framed(tick: Tick, form: str) -> bytes:
    value = encode(tick)
    if form == "json":
        return json.dumps({name: field for name, field in asdict(tick).items() if field is not None}).encode()
    return value[:-1] if form == "cut" else value


@st.composite
def fetches(draw: st.DrawFn) -> Records:
    ticks = draw(st.permutations(draw(streams)))
    ticks += draw(st.lists(st.sampled_from(ticks), max_size=5))
    drawn = draw(st.lists(forms, min_size=len(ticks), max_size=len(ticks)))
    records = [
        SimpleNamespace(key=tick.symbol.encode(), value=framed(tick, form))
        for tick, form in zip(ticks, drawn, strict=True)
    ]
    for value in draw(st.lists(st.sampled_from(BAD), max_size=2)):
        key = draw(st.sampled_from([b"VCB.VN", None]))
        records.insert(draw(st.integers(0, len(records))), SimpleNamespace(key=key, value=value))
    for offset, record in enumerate(records):
        record.offset = 100 + 2 * offset
    return Records.of(records)


def effect(records: Records, decoder: TickDecoder) -> dict[str, Any]:
    """All that the records come to."""
    asyncio.run(decoder.prepare(records))
    intake = take_in(records, decoder, EPOCH)
    rows = Rows()
    engine = Engine(rows, Policy(accepted_lateness_ms=86_400_000))
    applied = engine.apply(3, intake.ticks, 0, intake.columns, EPOCH)
    touched = dict.fromkeys([*applied.touched, *engine.close(0, idle=False)])
    assert not {tick.symbol for _, tick in intake.ticks} & {intake.columns.symbols[at] for at in intake.columns.symbol}
    return {
        "rows": {at: without_rounding(row) for at in addresses(rows) if (row := rows.get(at)) is not None},
        "candles": {candle.key: replace(candle, vwap=None) for candle in applied.whole + engine.publish(touched)},
        "verdicts": applied.batch.verdicts(),
        "letters": set(intake.letters + letters_of(applied.batch, records, decoder, EPOCH)),
    }


def addresses(rows: Rows) -> list[Address]:
    return [at for interval in INTERVALS_MS for at in rows.addresses(interval)]


def without_rounding(row: Row) -> Row:
    bar = row.bar and replace(row.bar, turnover=round(row.bar.turnover, 6), turnover_low=0.0)
    return replace(row, bar=bar, ids=row.ids.bounds)  # type: ignore[arg-type]  # compared, not used


@given(fetches())
def test_columns_come_to_the_same(records: Records) -> None:
    assert effect(records, TickDecoder(OneSchema())) == effect(records, OneByOne(OneSchema()))


@given(streams)
def test_the_newest_price_of_each_symbol_is_found(ticks: list[Tick]) -> None:
    columns = columns_of(list(enumerate(ticks)))
    chosen = np.arange(0, len(ticks), 2)
    newest: dict[str, Tick] = {}
    for tick in ticks[::2]:
        if tick.symbol not in newest or rank_of(tick) > rank_of(newest[tick.symbol]):
            newest[tick.symbol] = tick
    found = [ticks[index] for index in newest_of(columns, chosen)]
    assert {tick.symbol: id(tick) for tick in found} == {symbol: id(tick) for symbol, tick in newest.items()}


def test_ordinary_ticks_are_taken_as_columns() -> None:
    ticks = [
        Tick(f"S{n % 7}", 1_700_000_000_000 + n, 1.5, 2.0, trade_id=n, producer_timestamp=1_700_000_000_050 + n)
        for n in range(500)
    ]
    records = Records.of(
        [SimpleNamespace(key=tick.symbol.encode(), value=encode(tick), offset=n) for n, tick in enumerate(ticks)]
    )
    decoder = TickDecoder(OneSchema())
    asyncio.run(decoder.prepare(records))
    intake = take_in(records, decoder, EPOCH)
    assert (len(intake.columns), intake.ticks, intake.letters) == (500, [], [])
    applied = Engine(Rows(), Policy()).apply(3, [], 0, intake.columns, EPOCH)
    assert not any(minute.is_odd for run in applied.batch.runs.values() for minute in run.minutes)
    assert applied.batch.last == stamp(EPOCH, 499)
