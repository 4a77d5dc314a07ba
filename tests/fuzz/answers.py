"""What becomes of ticks that a decoder takes: candles and prices, and what is answered of them over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from fuzz.mutation import WORDS, Corpus
from fuzz.records import T0_MS, TICKS
from fuzz.target import TakeAll, Target, of_both

from stockstream.adapters import trading_of
from stockstream.codecs import Encoder
from stockstream.codecs.plain_json import decode_json
from stockstream.core.engine import Engine
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.latest import encode_row, latest_of, rank_of
from stockstream.core.publish import candle_of, volume_text
from stockstream.core.row import Row, stamp
from stockstream.core.rows import Rows
from stockstream.core.verdict import Policy
from stockstream.errors import BadMessage
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, Tick
from stockstream.models.tick import CONTROLS
from stockstream.settings import Settings
from stockstream.tables.gaps import encode_control
from stockstream.web.candles import candle_json
from stockstream.web.latest import latest_json

_DAY_MS = 86_400_000
_TIMES = [0, 1, 59_999, _DAY_MS - 1, _DAY_MS, 4_102_444_800_000, 253_370_764_800_000, 253_402_214_400_000]
_TIMES += [
    253_402_300_799_999,
    253_402_300_740_000,
    253_402_300_800_000,
    2**53,
    T0_MS + 1,
    T0_MS + 60_000,
    T0_MS - _DAY_MS,
]
_NAMES = ["yahoo", "finnhub", "NMS", "HOSE", "US", "CCC", "CME", "snapshot", "trade", "quote", "gap", "repair", "start"]
_WORDS = [*WORDS, b"1e15", b"1e-300", b"0.00000001", *(str(at).encode() for at in _TIMES * 4)]
_WORDS += [json.dumps(name).encode() for name in _NAMES]


def _ticks() -> list[Corpus]:
    share = replace(TICKS[1], symbol="AAPL", exchange="NMS", quote_type=8, day_volume=5, bid=1.0, ask=2.0)
    ticks = [*TICKS[:6], share, replace(share, kind="gap", until=T0_MS + 9), replace(share, kind="start")]
    return [Corpus([json.dumps(asdict(tick)).encode() for tick in ticks], is_text=True, words=_WORDS)]


def _open(_folder: Path) -> TakeAll:
    """Each batch becomes the log of a partition, whose candles and prices are then asked for."""
    trading = trading_of(Settings.load({}, _folder))
    written, published = Encoder(CANDLE_SCHEMA, 1), Encoder(LATEST_SCHEMA, 1)

    def take(block: Sequence[bytes]) -> int:
        ticks: list[Tick] = []
        for data in block:
            with suppress(BadMessage):
                ticks.append(decode_json(data))
        log = [(stamp(0, offset), tick) for offset, tick in enumerate(ticks)]
        rows = Rows(trading)
        engine = Engine(rows, Policy(None, 1 << 62), retention_ms=1 << 50)
        half = len(log) // 2
        refused = dict(engine.apply(1, log[:half], T0_MS).batch.refused)
        refused |= engine.apply(1, log[half:], T0_MS).batch.refused
        accepted = [(at, tick) for at, tick in log if at not in refused]
        for at, tick in accepted:
            _told(at, tick, published)
        engine.close(1 << 62, idle=True)
        for interval in INTERVALS_MS:
            for place in rows.addresses(interval):
                row = rows.get(place)
                if row is None:
                    continue
                of_both(Row.decode(row.encode()).encode(), row.encode(), "a row that was stored")
                candle = candle_of(rows, place, row)
                if candle is not None:
                    volume_text(rows, place, row)
                    written(candle)
                    json.dumps(candle_json(candle), allow_nan=False)
        return len(accepted)

    return take


def _told(at: int, tick: Tick, published: Encoder) -> None:
    if tick.kind in CONTROLS:
        encode_control(at, tick)
        return
    latest = latest_of(tick, at)
    encode_row(rank_of(tick), published(latest))
    json.dumps(latest_json(latest, T0_MS), allow_nan=False)


TARGETS = [
    Target(
        "answers", "candles and prices of any ticks, as they are answered", _ticks, _open, inputs=200_000, is_batch=True
    )
]
