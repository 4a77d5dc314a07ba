"""``stockstream compare``: our candles in ClickHouse beside the venue's own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from stockstream.adapters import candle_history_of, sink_of
from stockstream.cli.columns import parse_symbol
from stockstream.cli.comparison import Comparison, Difference
from stockstream.cli.connect import now_ms
from stockstream.cli.progress import progress
from stockstream.cli.question import Question
from stockstream.cli.times import INTERVAL, parse_time_option
from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import InvalidInput
from stockstream.settings import Settings
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sources.catalog import SOURCES, Source, source_of
from stockstream.sources.contract import CandleHistory
from stockstream.web.times import rfc3339

_WINDOWS_AT_ONCE = 1000

Show = Callable[[Sequence[Difference]], None]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The windows of a symbol that begin in ``[first_ms, until_ms)``."""

    symbol: str
    interval: str
    first_ms: int
    until_ms: int


@click.command(cls=Question)
@click.argument("symbol", callback=parse_symbol)
@click.option(
    "--from", "from_ms", required=True, callback=parse_time_option, help="First window: a date, RFC 3339 or epoch ms."
)
@click.option("--to", "to_ms", callback=parse_time_option, help="Windows begin before it. [default: now]")
@INTERVAL
def command(symbol: str, from_ms: int, to_ms: int | None, interval: str) -> None:
    """Compare the candles of SYMBOL in ClickHouse with those that its venue makes itself.

    Prints each field that differs, and how many candles do. Left out are windows in which nothing was traded, and
    those that the workers have not closed yet.

    Exit code 0: all are equal; 1: some differ, or are on one side only; 2: they could not be compared, as when
    ClickHouse or the venue is away.
    """
    settings = Settings.load()
    source = _source(symbol)
    history = candle_history_of(settings, source)
    if history is None:
        others = ", ".join(each.name for each in SOURCES.values() if each.make_candles is not None)
        raise click.UsageError(
            f"{symbol} belongs to {source.name}, which has no candles of its own to compare with; these do: {others}"
        )
    length_ms = INTERVALS_MS[interval]
    over_ms = now_ms() - round(settings.close_delay_s * 1000)
    until_ms = over_ms - length_ms + 1
    first_ms = -(-from_ms // length_ms) * length_ms
    wanted = _Wanted(symbol, interval, first_ms, until_ms if to_ms is None else min(to_ms, until_ms))
    if wanted.first_ms >= wanted.until_ms:
        raise click.UsageError(f"no {interval} window that begins between --from and --to is over")
    comparison = asyncio.run(_compare(sink_of(settings), history, wanted, printer(source.name)))
    click.echo(_summary(comparison, wanted, source.name))
    click.get_current_context().exit(0 if comparison.is_equal else 1)


def _source(symbol: str) -> Source:
    try:
        return source_of(symbol)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from error


async def _compare(sink: ClickHouseSink, history: CandleHistory, wanted: _Wanted, show: Show) -> Comparison:
    """Compare a bounded number of windows after the other, and show what differs."""
    comparison = Comparison()
    symbol, interval, until_ms = wanted.symbol, wanted.interval, wanted.until_ms
    starts_ms = range(wanted.first_ms, until_ms, INTERVALS_MS[interval])
    try:
        await sink.connect()
        with progress(f"comparing {symbol}", len(starts_ms)) as told:
            for done in range(0, len(starts_ms), _WINDOWS_AT_ONCE):
                some = starts_ms[done : done + _WINDOWS_AT_ONCE]
                end_ms = min(some.stop, until_ms)
                ours = await sink.candles(symbol, interval, some.start, end_ms, _WINDOWS_AT_ONCE)
                pages = history.candles(symbol, interval, some.start, end_ms)
                show(comparison.add(ours, [candle async for page in pages for candle in page]))
                told(done + len(some))
    finally:
        await history.close()
        await sink.close()
    return comparison


def printer(venue: str) -> Show:
    """What prints differences as they are found: a table on a terminal, else lines."""
    file = sys.stdout  # a bar that goes on meanwhile puts its own in this place
    if file.isatty():
        return _Tables(venue)

    def show(differences: Sequence[Difference]) -> None:
        for each in differences:
            told = f"{each.ours} here, {each.theirs} at {venue}"
            click.echo(f"{rfc3339(each.start_ms)}  {each.field:6}  {told}", file=file)

    return show


class _Tables:
    """Prints one table piece by piece."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._has_header = False

    def __call__(self, differences: Sequence[Difference]) -> None:
        from rich.console import Console
        from rich.table import Table

        if not differences:
            return
        table = Table(box=None, show_header=not self._has_header)
        table.add_column("window", min_width=24, no_wrap=True)
        table.add_column("field", min_width=6)
        for title in ("here", f"at {self._venue}"):
            table.add_column(title, justify="right", min_width=16)
        for each in differences:
            table.add_row(rfc3339(each.start_ms), each.field, each.ours, each.theirs)
        console = Console()
        with console.capture() as printed:
            console.print(table)
        sys.stdout.write(printed.get())  # which a bar has in its hands: it makes room for what is printed
        self._has_header = True


def _summary(comparison: Comparison, wanted: _Wanted, venue: str) -> str:
    marked = f" ({comparison.marked:,} marked partial or gap)" if comparison.marked else ""
    return (
        f"{wanted.symbol} {wanted.interval}: {comparison.compared:,} compared, {comparison.equal:,} equal, "
        f"{comparison.different:,} different{marked}, {comparison.missing_here:,} missing here, "
        f"{comparison.missing_there:,} missing at {venue}"
    )
