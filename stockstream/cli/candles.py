"""``stockstream candles``: the candles of a trades file, or of what is in Kafka."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import click

from stockstream.cli.columns import TIME_UNIT, parse_columns, parse_symbols
from stockstream.cli.progress import progress
from stockstream.cli.times import INTERVAL, SESSION, Span, parse_time_option
from stockstream.core.interval import REGULAR
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle, Verdict
from stockstream.sources.replay.files import open_recording
from stockstream.sources.replay.rows import Recording, TimeUnit

if TYPE_CHECKING:
    from stockstream.cli.rebuilt import Rebuilt

_BATCH_TICKS = 10_000
_HEADER = ("start_ms", "open", "high", "low", "close", "volume", "vwap", "trades")
_USED = {Verdict.ACCEPTED, Verdict.DUPLICATE}


@click.command()
@click.argument("file", required=False)
@INTERVAL
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
@TIME_UNIT
@SESSION
@click.option("--topic", help="Read this topic of Kafka, as it is named there, instead of a file.")
@click.option(
    "--rebuilt", "is_rebuilt", is_flag=True, help="With --topic: what a rebuild would change, and by which ticks."
)
@click.option(
    "--from",
    "from_ms",
    callback=parse_time_option,
    help="Candles that begin then or later: a date, RFC 3339 or epoch ms.",
)
@click.option("--to", "to_ms", callback=parse_time_option, help="Candles that begin before it.")
@click.option("--symbols", callback=parse_symbols, help="Only these, comma-separated.")
def command(
    file: str | None,
    interval: str,
    columns: Mapping[str, str],
    time_unit: TimeUnit | None,
    session: str,
    topic: str | None,
    is_rebuilt: bool,
    from_ms: int | None,
    to_ms: int | None,
    symbols: Sequence[str] | None,
) -> None:
    """Print the candles of FILE, or of what a topic holds now, as CSV.

    FILE holds trades as CSV with the columns event_ms, trade_id, side, price, size and, for several instruments,
    symbol; as JSON lines; or as Parquet. Text may be gzip, and - is standard input. Trades may come in any order and
    more than once. Minutes without a trade have no row. Times are epoch milliseconds, or as --time-unit says; what
    cannot be is an error. Parquet's timestamps know their own unit.

    With --topic the candles are those that a worker with the same settings makes of the records that are there at
    the start. Days and sessions are those of the exchanges that the records name; a file names none, and has days in
    UTC.

    With --rebuilt it prints what of them would be different if ticks that are late, or that came when their candle was
    no longer kept, counted too: each field as it is and as it would be, and the ticks that change it, each as
    partition-offset and verdict. Fields that change with every reading are left out: version and state.

    --from and --to choose candles by when their windows begin, in event time; each chosen one is whole, whatever of it
    lies beyond --to. --symbols chooses instruments by the column symbol, or by the records of the topic.
    """
    if (file is None) == (topic is None):
        raise click.UsageError("Missing argument 'FILE', or --topic: one of them, not both.")
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise click.UsageError("--from must be earlier than --to")
    span = Span(interval, from_ms, to_ms)
    if topic is not None:
        if columns or time_unit:
            raise click.UsageError("--columns and --time-unit are for files: a topic has its own.")
        # What talks to servers takes a second to import, which files need not wait for.
        from stockstream.cli.topic_candles import fold_rebuilt, fold_topic
        from stockstream.settings import Settings

        if is_rebuilt:
            _print_changes(asyncio.run(fold_rebuilt(Settings.load(), topic, span, symbols)), session)
            return
        engine = asyncio.run(fold_topic(Settings.load(), topic, span, symbols))
        _print(engine, span, session, has_symbol=True)
        return
    if is_rebuilt:
        raise click.UsageError("--rebuilt is for topics: of a file nothing is late")
    if session != REGULAR:
        raise click.UsageError("--session is for topics: a file's trades are all of one session")
    with open_recording(str(file), columns, unit=time_unit) as trades:
        if symbols and not trades.has_symbol:
            raise click.UsageError(
                "--symbols needs a symbol column, which the file lacks: leave it out, or name the column with "
                "--columns symbol=…"
            )
        engine = _fold(trades, span, symbols)
    _print(engine, span, session, has_symbol=trades.has_symbol)


def _fold(trades: Recording, span: Span, symbols: Collection[str] | None) -> OfflineEngine:
    """Fold those of a file's trades that matter."""
    engine = OfflineEngine()
    with progress("reading trades", trades.size_bytes) as told:
        ticks, wanted = iter(trades), None if symbols is None else set(symbols)
        while batch := list(islice(ticks, _BATCH_TICKS)):
            chosen = batch if wanted is None else [tick for tick in batch if tick.symbol in wanted]
            engine.add(chosen if span.is_endless else [tick for tick in chosen if span.matters(tick)])
            told(trades.position_bytes)
    return engine


def _print(engine: OfflineEngine, span: Span, session: str, *, has_symbol: bool) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("symbol", *_HEADER) if has_symbol else _HEADER)
    for candle, volume in engine.candles(span.interval):
        if candle.session == session and span.holds(candle.window_start):
            row = _row(candle, volume)
            rows.writerow((candle.symbol, *row) if has_symbol else row)
    sys.stdout.flush()
    _report(engine.verdicts)


def _print_changes(rebuilt: Rebuilt, session: str) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("symbol", "start_ms", "field", "now", "rebuilt", "ticks"))
    for change in rebuilt.changes(session):
        ticks = "; ".join(f"{tick.partition}-{tick.offset} {tick.verdict}" for tick in change.ticks)
        for each in change.differences:
            rows.writerow((change.symbol, each.start_ms, each.field, each.ours, each.theirs, ticks))
    sys.stdout.flush()
    _report(rebuilt.verdicts)


def _row(candle: Candle, volume: str | None) -> tuple[object, ...]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    vwap = "" if candle.vwap is None else shortest_decimal(candle.vwap)
    return (candle.window_start, *map(shortest_decimal, prices), volume, vwap, candle.trades)


def shortest_decimal(number: float) -> str:
    """The shortest decimal that reads back as ``number``, without an exponent."""
    return f"{Decimal(repr(number)):f}"


def _report(verdicts: Counter[Verdict]) -> None:
    refused = {verdict: count for verdict, count in verdicts.items() if verdict not in _USED}
    if refused:
        reasons = ", ".join(f"{verdict} {count:,}" for verdict, count in sorted(refused.items()))
        click.echo(f"stockstream: {sum(refused.values()):,} trades left out: {reasons}", err=True)
