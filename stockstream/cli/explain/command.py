"""``stockstream explain``: which ticks made a candle, and what became of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import click

from stockstream.adapters import connection_of, rules_of, sink_of
from stockstream.broker.snapshot import topics_now
from stockstream.broker.topics import key_partition, retention_of
from stockstream.cli.columns import parse_symbol
from stockstream.cli.comparison import differences
from stockstream.cli.connect import now_ms, read_source_of
from stockstream.cli.explain.fold import Fold
from stockstream.cli.explain.show import Stored, as_json, print_text, time_text
from stockstream.cli.explain.window import Window
from stockstream.cli.times import INTERVAL, SESSION, parse_time_option
from stockstream.cli.topic_ticks import in_log_since_ms, read_ticks
from stockstream.core.interval import DAILY, window_start
from stockstream.core.rules import CandleRules
from stockstream.core.trading import Trading, window_of
from stockstream.errors import InvalidInput, SettingsError, SinkRefused, SinkUnreachable
from stockstream.models import Candle
from stockstream.settings import Settings
from stockstream.web.times import rfc3339

_UNITS_MS = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1}


@click.command()
@click.argument("symbol", callback=parse_symbol)
@click.argument("start_ms", metavar="START", callback=parse_time_option)
@INTERVAL
@SESSION
@click.option("--topic", help="The topic of the symbol's candles, as it is named in Kafka. [default: its source's]")
@click.option(
    "--from", "from_ms", callback=parse_time_option, help="Read the log from then on. [default: the window's date]"
)
@click.option("--clickhouse/--no-clickhouse", default=True, help="Compare with what ClickHouse holds. [default: do]")
@click.option("--json", "is_json", is_flag=True, help="One JSON object.")
def command(
    symbol: str,
    start_ms: int,
    interval: str,
    session: str,
    topic: str | None,
    from_ms: int | None,
    clickhouse: bool,
    is_json: bool,
) -> None:
    """Show the records behind the candle of SYMBOL whose window begins at START, or holds it; START may be a date.

    Those that are in Kafka now are judged by the engine, as a worker with the same settings does, and printed in the
    order of the log: the ticks of the window, good or bad, and the records of subscriptions and gaps that reach into
    it. Then the candle that comes out, which tick gave each of its prices, and what differs in ClickHouse.
    """
    settings = Settings.load()
    rules = rules_of(settings)
    topics = _topics(settings, symbol, topic)
    window = _window(rules.trading, symbol, interval, session, start_ms)
    fold = asyncio.run(_fold(settings, rules, window, topics, from_ms))
    stored = asyncio.run(_stored(settings, fold)) if clickhouse and settings.sink_enabled else None
    if is_json:
        click.echo(as_json(fold, stored))
    else:
        print_text(fold, stored)


def _window(trading: Trading, symbol: str, interval: str, session: str, start_ms: int) -> Window:
    """The window that begins at ``start_ms`` or holds it: midnight of a date in UTC is that trading date's."""
    hours = trading.guessed(symbol)
    start = window_start(interval, start_ms)
    if interval == DAILY and start != start_ms:
        start = window_of(hours, interval, session, start_ms)
    return Window(symbol, interval, start, session, hours)


def _topics(settings: Settings, symbol: str, topic: str | None) -> Sequence[str]:
    """The topics that the symbol's records may be in, as they are named on the broker, its own first."""
    if topic is None:
        try:
            topic = settings.topic(read_source_of(settings, symbol).topic)
        except InvalidInput as error:
            raise click.UsageError(f"{error}; --topic says where its ticks are") from error
        except SettingsError as error:
            raise click.UsageError(f"{error}, or say --topic") from error
    return list(dict.fromkeys([topic, *map(settings.topic, settings.tick_topics)]))


async def _fold(
    settings: Settings, rules: CandleRules, window: Window, topics: Sequence[str], from_ms: int | None
) -> Fold:
    """Fold the symbol's records of all topics; raises as `read_ticks` does, and `InvalidInput` if no tick is there."""
    connection = connection_of(settings)
    there = await topics_now(connection)
    own, key = topics[0], window.symbol.encode()
    since_ms = in_log_since_ms(settings, window.first_ms) if from_ms is None else from_ms
    fold = Fold(window, rules)
    for topic in topics:
        if topic != own and topic not in there:
            continue
        partitions = {key_partition(key, there[topic])} if topic in there else None
        records = read_ticks(settings, topic, since_ms=since_ms, partitions=partitions, key=key, epoch=settings.epoch)
        async with aclosing(records) as taken:
            async for fetched, intake in taken:
                log_ms = {record.offset: record.timestamp for record in fetched} if intake.letters else {}
                fold.add(topic, fetched[0].partition, intake, log_ms)
    fold.end(now_ms())
    if not any(each.is_tick for each in fold.found):
        raise InvalidInput(_nothing(fold, own, since_ms, await retention_of(connection, own)))
    return fold


def _nothing(fold: Fold, topic: str, since_ms: int, kept_ms: int | None) -> str:
    window = fold.window
    opens, closes = map(rfc3339, window.bounds_ms)
    read = f"in what the log took since {rfc3339(max(0, since_ms))}"
    if fold.earliest_ms is None:
        found = f"{read} there is none at all"
    else:
        found = f"{read} the earliest is of {time_text(fold.earliest_ms)}"
    kept = "" if kept_ms is None else f", which keeps records {_kept(kept_ms)}"
    symbol = window.symbol if window.hours is None else f"{window.symbol} in the {window.session} session"
    return f"no tick of {symbol} from {opens} to {closes} is in topic {topic}{kept}; {found}"


def _kept(kept_ms: int) -> str:
    if kept_ms < 0:
        return "for ever"
    unit, length_ms = next((name, length) for name, length in _UNITS_MS.items() if kept_ms % length == 0)
    count = kept_ms // length_ms
    return f"for {count:,} {unit}{'' if count == 1 else 's'}"


async def _stored(settings: Settings, fold: Fold) -> Stored:
    """What ClickHouse holds of the same window; that it is away is no error, but told."""
    window = fold.window
    sink = sink_of(settings)
    try:
        await sink.connect()
        found: list[Candle] = await sink.candles(
            window.symbol, window.interval, window.start_ms, window.start_ms + 1, limit=1, session=window.session
        )
    except (SinkUnreachable, SinkRefused) as error:
        return Stored(error=str(error))
    finally:
        await sink.close()
    return Stored(differences(window.start_ms, fold.candle, found[0] if found else None))
