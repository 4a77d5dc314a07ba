"""Candles and ticks to store, and that blocks of them are stored as their rows are."""

from __future__ import annotations

import math
from dataclasses import replace

from clickhouse_connect.driver.client import Client
from whole import candle_block, candle_decoder, tick_block

from stockstream.models import Candle, Tick, Verdict
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick

MINUTE_MS = 60_000
T0_MS = 1_700_000_040_000


def candle(minute: int = 0, version: int = 1, **other: object) -> Candle:
    start = T0_MS + minute * MINUTE_MS
    whole = Candle(
        "BINANCE:BTCUSDT", "1m", "regular", start, start + MINUTE_MS, 37_000.1, 37_000.7, 36_999.9, 37_000.3,
        12.00000001, 37_000.2, 41, False, version, start, start + MINUTE_MS,
    )  # fmt: skip
    return replace(whole, **other)  # type: ignore[arg-type]


def archived(offset: int, **other: object) -> ArchivedTick:
    whole = Tick("BINANCE:BTCUSDT", T0_MS + offset, 37_000.1, 0.5, producer_timestamp=T0_MS + offset + 20)
    return ArchivedTick(replace(whole, **other), Verdict.ACCEPTED, "crypto-prices", 3, offset)  # type: ignore[arg-type]


async def all_candles(sink: ClickHouseSink, symbol: str = "BINANCE:BTCUSDT") -> list[Candle]:
    return await sink.candles(symbol, "1m", None, None, 1_000_000)


async def blocks_are_stored_as_their_rows_are(sink: ClickHouseSink, client: Client, database: str) -> None:
    await sink.start()
    sink._epoch = 2
    some: list[dict[str, object]] = [
        {}, {"currency": "USD", "conditions": ""}, {"bid": -0.0, "trades_24h": 0, "until": T0_MS, "cause": "silence"},
        {"sequence": 0, "kind": "quote"}, {"last_size": -0.0, "timestamp": ""}, {"symbol": "AAPL", "price": math.nan},
        {"event_time": -(2**61), "quote_type": -8, "price_hint": "4"}, {"exchange": "NMS", "source": "finnhub"},
    ]  # fmt: skip
    kinds: list[list[dict[str, object]]] = [[{}], some, [{"market_hours": 0, "day_volume": 0}]]
    for kind, changes in enumerate(kinds):
        ticks = [replace(archived(0).tick, **changes[n % len(changes)]) for n in range(200)]  # type: ignore[arg-type]
        parts = [tick_block("columns", kind, list(enumerate(ticks))[at : at + 100]) for at in (100, 0)]
        rows = [replace(part.item(index), topic="rows") for part in parts for index in range(len(part))]
        assert {row.verdict for row in rows} >= {Verdict.BAD_TIME, Verdict.BAD_PRICE} or changes is not some
        await sink.insert_ticks(rows)
        await sink.insert_tick_blocks(parts)
    names = f"* EXCEPT (topic, inserted_at), event_date FROM {database}.ticks WHERE topic ="
    found = [
        client.query(f"SELECT {names} '{topic}' ORDER BY `partition`, `offset`").result_rows
        for topic in ("rows", "columns")
    ]
    assert len(found[1]) == 600
    assert repr(found[1]) == repr(found[0])

    full = candle(1, 2**62 - 1, is_closed=True, partial=True, gap=True, corrected=True, state="amended")
    bare = candle(2, 0, volume=None, vwap=None, trades=None, symbol="ÄÖ", interval="1d", session="extended")
    decoder = candle_decoder()
    await sink.insert_candle_blocks([candle_block(decoder, 0, [(0, full), (1, bare)])])
    await sink.insert_candle_blocks([candle_block(decoder, 0, [(2, candle(3))]), candle_block(decoder, 1, [(0, full)])])
    assert await all_candles(sink) == [full, candle(3)]
    assert await sink.candles("ÄÖ", "1d", None, None, 9, "extended") == [bare]
