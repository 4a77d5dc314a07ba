"""Blocks of ticks and candles as the columns of their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockstream.core.archive import VERDICTS, Coded, Optional
from stockstream.core.candle_columns import OPTIONAL
from stockstream.models import Tick
from stockstream.models.candle import STATES
from stockstream.models.tick import KINDS
from stockstream.sinks.contract import CandleBlock, TickBlock
from stockstream.sinks.native import Times, Written, native, used_of

_TICK_NUMBERS = ("event_time", "price", "last_size", "day_volume", "trade_id")
_TICK_TEXTS = {f.name for f in fields(Tick) if f.metadata["avro"] == ["null", "string"]}
_CANDLE_TIMES = ("window_start", "window_end", "session_open", "session_close")
_CANDLE_NUMBERS = ("open", "high", "low", "close", "is_closed", "partial", "gap", "corrected")


def native_ticks(blocks: Sequence[TickBlock], epoch: int) -> tuple[list[str], bytes]:
    """Names of columns and rows for the archive, in the order of its key."""
    ordered = sorted(blocks, key=lambda block: (block.topic, block.partition, block.columns.offset[0]))
    return native([(len(block), _ticks(block, epoch)) for block in ordered], _TICK_TEXTS)


def native_candles(blocks: Sequence[CandleBlock]) -> tuple[list[str], bytes]:
    """Names of columns and rows for the states of candles."""
    return native([(len(block), _candles(block)) for block in blocks], ())


def _ticks(block: TickBlock, epoch: int) -> dict[str, Written]:
    ticks, rest = block.columns.ticks, dict(block.columns.rest)
    count = len(block)
    columns: dict[str, Any] = {
        "topic": Coded(np.zeros(count, np.int64), [block.topic]),
        "partition": np.full(count, block.partition, np.uint32),
        "offset": ticks.offset.astype(np.uint64),
        "epoch": np.full(count, epoch, np.uint8),
        "verdict": Coded(block.columns.verdicts, VERDICTS),
        "symbol": Coded(ticks.symbol, ticks.symbols),
        "kind": Coded(ticks.kind, KINDS),
        "producer_timestamp": ticks.received,
        "source": _part(ticks.venue, ticks.venues, 0),
        "exchange": _part(ticks.venue, ticks.venues, 1),
    }
    columns |= {name: getattr(ticks, name) for name in _TICK_NUMBERS}
    if ticks.has_sequence.any():
        rest["sequence"] = Optional(ticks.sequence, ticks.has_sequence)
    return columns | rest


def _candles(block: CandleBlock) -> dict[str, Written]:
    candles = block.columns
    columns: dict[str, Any] = {
        name: _part(candles.name, candles.names, place) for place, name in enumerate(("symbol", "interval", "session"))
    }
    columns |= {name: Times(getattr(candles, name)) for name in _CANDLE_TIMES}
    columns |= {name: getattr(candles, name) for name in _CANDLE_NUMBERS}
    columns |= {name: Optional(getattr(candles, name), getattr(candles, f"has_{name}")) for name in OPTIONAL}
    return columns | {"version": candles.version.astype(np.uint64), "state": Coded(candles.state, STATES)}


def _part(codes: NDArray[np.int64], values: Sequence[Sequence[str]], which: int) -> Coded:
    """One of the texts that a code stands for."""
    used, codes = used_of(codes, len(values))
    return Coded(codes, [values[code][which] for code in used])
