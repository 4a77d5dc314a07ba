"""``stockstream candles``: the candles of a trades file."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from itertools import islice

import click

from stockstream.cli.columns import parse_columns
from stockstream.cli.progress import progress
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle, Verdict
from stockstream.sources.replay.files import open_recording

_BATCH_TICKS = 10_000
_HEADER = ("start_ms", "open", "high", "low", "close", "volume", "vwap", "trades")
_USED = {Verdict.ACCEPTED, Verdict.DUPLICATE}


@click.command()
@click.argument("file")
@click.option(
    "--interval", type=click.Choice(list(INTERVALS_MS)), required=True, help="Length of a candle; days are UTC."
)
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
def command(file: str, interval: str, columns: Mapping[str, str]) -> None:
    """Print the candles of FILE as CSV.

    FILE holds trades as CSV with the columns event_ms, trade_id, side, price, size and, for several instruments,
    symbol; as JSON lines; or as Parquet. Text may be gzip, and - is standard input. Trades may come in any order and
    more than once. Minutes without a trade have no row.
    """
    engine = OfflineEngine()
    with open_recording(file, columns) as trades, progress("reading trades", trades.size_bytes) as told:
        ticks = iter(trades)
        while batch := list(islice(ticks, _BATCH_TICKS)):
            engine.add(batch)
            told(trades.position_bytes)
        has_symbol = trades.has_symbol
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("symbol", *_HEADER) if has_symbol else _HEADER)
    for candle, volume in engine.candles(interval):
        row = _row(candle, volume)
        rows.writerow((candle.symbol, *row) if has_symbol else row)
    sys.stdout.flush()
    _report(engine.verdicts)


def _row(candle: Candle, volume: str | None) -> tuple[object, ...]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    vwap = "" if candle.vwap is None else _decimal(candle.vwap)
    return (candle.window_start, *map(_decimal, prices), volume, vwap, candle.trades)


def _decimal(number: float) -> str:
    """The shortest decimal that reads back as ``number``, without an exponent."""
    return f"{Decimal(repr(number)):f}"


def _report(verdicts: Counter[Verdict]) -> None:
    refused = {verdict: count for verdict, count in verdicts.items() if verdict not in _USED}
    if refused:
        reasons = ", ".join(f"{verdict} {count:,}" for verdict, count in sorted(refused.items()))
        click.echo(f"stockstream: {sum(refused.values()):,} trades left out: {reasons}", err=True)
