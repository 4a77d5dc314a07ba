"""Rows and candles without what the order of summing leaves in the last digits of turnovers."""

from __future__ import annotations

from dataclasses import replace

from stockstream.core.interval import INTERVALS_MS, Address
from stockstream.core.row import Row
from stockstream.core.rows import Rows
from stockstream.models import Candle


def plain(row: Row) -> Row:
    bar = row.bar and replace(row.bar, turnover=0.0, turnover_low=0.0)
    return replace(row, bar=bar, ids=row.ids.bounds)  # type: ignore[arg-type]  # compared, not used


def plain_rows(rows: Rows) -> dict[Address, Row]:
    found = {at: rows.get(at) for interval in INTERVALS_MS for at in rows.addresses(interval)}
    return {at: plain(row) for at, row in found.items() if row is not None}


def without_rounding(candle: Candle) -> Candle:
    return replace(candle, vwap=candle.vwap and round(candle.vwap, 9))
