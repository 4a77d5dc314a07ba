"""A candle and the records behind it, as text and as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from stockstream.cli.candles import shortest_decimal
from stockstream.cli.comparison import Difference
from stockstream.cli.explain.fold import Fold
from stockstream.cli.explain.window import Found
from stockstream.cli.text import aligned, plain
from stockstream.core.interval import window_end
from stockstream.models import Candle, Verdict
from stockstream.web.times import rfc3339, stamp

_HEADER = ("topic", "partition", "offset", "event", "received", "kind", "price", "size", "cumulative", "trade id")
_ALWAYS = {"partition", "offset", "event", "received", "kind", "price"}
_FLAGS = ("partial", "gap", "corrected")
_WIDEST = 10_000
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Stored:
    """What ClickHouse holds of the window: ``differences`` from what came out, or why nobody knows."""

    differences: Sequence[Difference] = ()
    error: str | None = None

    @property
    def is_equal(self) -> bool:
        """Whether it answered, and has the same."""
        return not self.differences and self.error is None


def print_text(fold: Fold, stored: Stored | None) -> None:
    """Print all of it: the records as a table on a terminal, else as aligned lines. None: ClickHouse was not asked."""
    window = fold.window
    opens, closes = map(time_text, window.bounds_ms)
    session = "" if window.hours is None else f", {window.session} session"
    click.echo(f"{window.symbol} {window.interval} from {opens} to {closes}{session}\n")
    header, *rows = _table(fold)
    if sys.stdout.isatty():
        _print_rich(header, rows)
    else:
        click.echo("\n".join(aligned([header, *rows])))
    click.echo(f"\n{_counted(Counter(each.verdict for each in fold.found))}")
    if fold.others:
        click.echo(f"elsewhere in the log, of this key: {_counted(fold.others)}")
    click.echo("\n" + "\n".join(aligned(list(_facts(fold, stored)))))


def as_json(fold: Fold, stored: Stored | None) -> str:
    """All of it as one JSON object."""
    window, candle = fold.window, fold.candle
    edges = {name: found.place for name, found in fold.edges().items()}
    told: dict[str, Any] = {
        "symbol": window.symbol,
        "interval": window.interval,
        "session": window.session,
        **stamp("window_start", window.start_ms),
        **stamp("window_end", window_end(window.interval, window.start_ms)),
        "records": [_record(each) for each in fold.found],
        "others": dict(fold.others),
        "candle": None if candle is None else {**asdict(candle), "exact_volume": fold.volume},
        "edges": {name: place._asdict() for name, place in edges.items()},
        "baseline": None if fold.baseline is None else asdict(fold.baseline),
    }
    if stored is not None:
        told["clickhouse"] = {
            "equal": stored.is_equal,
            "differences": [
                {"field": each.field, "here": each.ours, "there": each.theirs} for each in stored.differences
            ],
            "error": stored.error,
        }
    return json.dumps(told)


def _table(fold: Fold) -> list[tuple[str, ...]]:
    """The header and a row a record, without the columns that tell nothing of any."""
    gives: dict[int, list[str]] = {}
    for name, found in fold.edges().items():
        gives.setdefault(id(found), []).append(name)
    header = (*_HEADER, "verdict", "")
    rows = [(*_cells(each), each.verdict.value, _note(each, gives.get(id(each), []))) for each in fold.found]
    topics = {each.place.topic for each in fold.found}
    shown = [
        at
        for at, name in enumerate(header)
        if name in _ALWAYS or (len(topics) > 1 if name == "topic" else any(row[at] for row in rows))
    ]
    return [tuple(row[at] for at in shown) for row in (header, *rows)]


def _cells(found: Found) -> tuple[str, ...]:
    times = (time_text(found.event_ms), time_text(found.received_ms))
    numbers = (_number(found.price), _number(found.size), _number(found.cumulative), _number(found.trade_id))
    return (found.place.topic, str(found.place.partition), str(found.place.offset), *times, found.kind or "", *numbers)


def _note(found: Found, gives: Sequence[str]) -> str:
    until = "" if found.until_ms is None else f"until {time_text(found.until_ms)}"
    return ", ".join(text for text in (*gives, until, plain(found.told or "")) if text)


def _print_rich(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in header:
        is_number = name in ("partition", "offset", "price", "size", "cumulative", "trade id")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name in ("event", "received"))
    accepted = Verdict.ACCEPTED.value
    for row in rows:
        table.add_row(*map(Text, row), style=None if accepted in row else "dim")
    console = Console()
    # Lines that are too long are for the terminal to wrap: an offset cut short is none.
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    console.width = max(console.width, needed)
    if console.width < needed:  # a dumb terminal's is fixed
        click.echo("\n".join(aligned([header, *rows])))
    else:
        console.print(table)


def _facts(fold: Fold, stored: Stored | None) -> Iterator[tuple[str, str, str]]:
    candle = fold.candle
    if candle is None:
        yield "candle", "none", "no record moves it"
    else:
        yield from _told_of(candle, fold)
    if stored is None:
        return
    if stored.error is not None:
        yield "clickhouse", "unknown", stored.error
    elif stored.is_equal:
        yield "clickhouse", "equal", ""
    for each in stored.differences:
        yield "clickhouse", "differs", f"{each.field}: {each.ours} here, {each.theirs} at ClickHouse"


def _told_of(candle: Candle, fold: Fold) -> Iterator[tuple[str, str, str]]:
    edges = fold.edges()
    for name in _PRICES:
        found = edges.get(name)
        yield name, _number(getattr(candle, name)), "" if found is None else f"offset {found.place.offset}"
    baseline, counts = fold.baseline, ""
    if baseline is not None:
        counts = f"since {baseline.cumulative} at {time_text(baseline.event_ms)}, offset {baseline.offset}"
    yield "volume", "unknown" if fold.volume is None else fold.volume, counts
    if candle.vwap is not None:
        yield "vwap", _number(candle.vwap), ""
    if candle.trades is not None:
        yield "trades", str(candle.trades), ""
    yield "version", str(candle.version), ""
    yield "state", candle.state, ""
    yield "flags", " ".join(name for name in _FLAGS if getattr(candle, name)) or "none", ""


def _record(found: Found) -> dict[str, Any]:
    return {
        **found.place._asdict(),
        "event_time": time_text(found.event_ms) or None,
        "received": time_text(found.received_ms) or None,
        "until": time_text(found.until_ms) or None,
        "kind": found.kind,
        "price": found.price,
        "size": found.size,
        "cumulative": found.cumulative,
        "trade_id": found.trade_id,
        "verdict": found.verdict,
        "told": found.told,
    }


def _counted(counts: Counter[Verdict]) -> str:
    total = counts.total()
    told = ", ".join(f"{verdict} {count:,}" for verdict, count in sorted(counts.items()))
    return f"{total:,} record{'' if total == 1 else 's'}: {told}"


def time_text(epoch_ms: int | None) -> str:
    """RFC 3339, empty for none; what is beyond the years of that stays a number."""
    if epoch_ms is None:
        return ""
    try:
        return rfc3339(epoch_ms)
    except OverflowError:
        return str(epoch_ms)


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return str(number) if isinstance(number, int) else shortest_decimal(number).removesuffix(".0")
