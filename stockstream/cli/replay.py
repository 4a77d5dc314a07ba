"""``stockstream replay``: a file or a part of the archive into a topic, at the pace of its time or faster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import click

from stockstream.adapters import sink_of
from stockstream.broker.producer import TickProducer
from stockstream.cli.columns import TIME_UNIT, parse_columns, parse_symbol, parse_symbols
from stockstream.cli.connect import connected_producer
from stockstream.cli.ending import Ending
from stockstream.cli.progress import progress
from stockstream.cli.replay_target import Target, target_of, worker_command
from stockstream.cli.times import parse_time_option
from stockstream.errors import BrokerUnreachable, InvalidInput
from stockstream.models import Tick
from stockstream.settings import Settings, split
from stockstream.sinks.archive import TickArchive
from stockstream.sources.replay.files import open_recording
from stockstream.sources.replay.player import Clock, Player
from stockstream.sources.replay.rows import DEFAULT_SYMBOL, TimeUnit

log = logging.getLogger(__name__)

_STALL_S = 5.0


def parse_speed(ctx: click.Context, parameter: click.Parameter, text: str) -> float | None:
    """Return how many times faster than its own time the file is played; None for as fast as possible."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < inf:
        raise click.BadParameter(f"{text!r} is neither a number above 0 nor max")
    return speed


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What is played: first what was known ``before``, at once; ``done()`` of ``total`` has been read, in any unit."""

    ticks: Iterable[Tick] | AsyncIterable[Tick]
    total: int
    done: Callable[[], int]
    before: Sequence[Tick] = ()


@dataclass(frozen=True, slots=True)
class _Pace:
    """How it is played."""

    speed: float | None
    clock: Clock
    only: Collection[str] | None = None


@click.command()
@click.argument("file", required=False)
@click.option("--from", "from_ms", callback=parse_time_option, help="Of the archive: a date, RFC 3339 or epoch ms.")
@click.option("--to", "to_ms", callback=parse_time_option, help="Of the archive: ticks that happened before it.")
@click.option("--symbols", callback=parse_symbols, help="Only these, comma-separated.")
@click.option("--source", help="Of the archive: only this source's, such as binance.")
@click.option(
    "--from-topics", help="Of the archive: what came in these topics, as they are named. [default: the live ones]"
)
@click.option("--symbol", callback=parse_symbol, help="Of a file without a symbol column; else the only one to replay.")
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
@TIME_UNIT
@click.option(
    "--speed", callback=parse_speed, default="1", show_default=True, help="×N of the ticks' own time, or max."
)
@click.option(
    "--pace-by",
    type=click.Choice(["event", "received"]),
    help="Ticks are due as they happened or as they were received. [default: of a file event, of the archive received]",
)
@click.option("--app-id", help="Of the worker that is to read it. [default: replay- and the live one's]")
@click.option("--topic", help="Topic to write, as it is named. [default: replay- and the first tick topic]")
def command(
    file: str | None,
    from_ms: int | None,
    to_ms: int | None,
    symbols: list[str] | None,
    source: str | None,
    from_topics: str | None,
    symbol: str | None,
    columns: Mapping[str, str],
    time_unit: TimeUnit | None,
    speed: float | None,
    pace_by: Clock | None,
    app_id: str | None,
    topic: str | None,
) -> None:
    """Produce the ticks of FILE, or of the archive with --from and --to, into a topic of their own.

    FILE is what `stockstream candles` reads; its rows may also say when they were received (received_ms), and what
    they are (kind): snapshots, quotes, and the starts and gaps of a source. Without received_ms a tick counts as
    received when it happened, so none is late. The archive gives back what was received, bad ticks and gaps included.

    Never into live topics: the topics and the app id of the worker that is to read it are the replay's own, and the
    command that runs that worker is printed. While Kafka is away the replay waits; Ctrl+C writes what was read, and
    ends it.
    """
    settings = Settings.load()
    target = target_of(settings, topic, app_id)
    has_range = from_ms is not None or to_ms is not None
    if (file is None) != has_range:
        raise click.UsageError("FILE, or --from and --to for the archive: one of them, not both.")
    if file is not None:
        if source or from_topics:
            raise click.UsageError("--source and --from-topics are of the archive: leave them out, or FILE")
        if symbol and symbols:
            raise click.UsageError("--symbol and --symbols are both given: keep one")
        with open_recording(file, columns, symbol or DEFAULT_SYMBOL, time_unit) as trades:
            if symbols and not trades.has_symbol:
                raise click.UsageError("--symbols needs a symbol column, which the file lacks: name it with --symbol")
            only = [symbol] if symbol and trades.has_symbol else symbols
            recorded = _Recorded(trades, trades.size_bytes, lambda: trades.position_bytes)
            code = asyncio.run(_replay(settings, target, recorded, _Pace(speed, pace_by or "event", only)))
    else:
        if from_ms is None or to_ms is None or from_ms >= to_ms:
            raise click.UsageError("--from and --to are both needed, the earlier one first")
        if symbol or columns or time_unit:
            raise click.UsageError("--symbol, --columns and --time-unit are of files: the archive has --symbols")
        archive = TickArchive(
            sink_of(settings),
            from_ms=from_ms,
            until_ms=to_ms,
            topics=split(from_topics) if from_topics else [settings.topic(name) for name in settings.tick_topics],
            symbols=symbols or (),
            source=source,
        )
        code = asyncio.run(_replay_archive(settings, target, archive, _Pace(speed, pace_by or "received")))
    click.get_current_context().exit(code)


async def _replay_archive(settings: Settings, target: Target, archive: TickArchive, pace: _Pace) -> int:
    async with archive:
        if not archive.rows:
            raise InvalidInput(
                "the archive has nothing of that: see --from, --to, --symbols, --source and --from-topics"
            )
        recorded = _Recorded(archive, archive.rows, lambda: archive.rows_read, await archive.before())
        return await _replay(settings, target, recorded, pace)


async def _replay(settings: Settings, target: Target, recorded: _Recorded, pace: _Pace) -> int:
    """Replay, print the counts, return the exit code."""
    ending = Ending()
    producer = await connected_producer(settings, target.topic, shed_after_s=inf)
    _tell_target(settings, target)
    began_s = time.monotonic()
    try:
        with progress("replaying", recorded.total) as told:

            async def emit(ticks: Sequence[Tick]) -> None:
                told(recorded.done())
                await producer.send(ticks)

            if recorded.before:
                await producer.send(recorded.before)
            player = Player(recorded.ticks, emit, speed=pace.speed, only=pace.only, clock=pace.clock)
            await _play(player, producer, ending)
    finally:
        unwritten = await producer.close()
        click.echo(
            f"{producer.counts.acknowledged:,} of {producer.counts.accepted:,} ticks written to {target.topic}, "
            f"symbols: {len(producer.symbols)}, in {time.monotonic() - began_s:.1f} s"
            f"{', interrupted' if ending.code else ''}"
        )
    if unwritten:
        raise BrokerUnreachable(f"Kafka has not confirmed {unwritten:,} of the ticks: they may be written or not")
    return ending.code


def _tell_target(settings: Settings, target: Target) -> None:
    run = worker_command(settings, target)
    if run is None:
        click.echo(f"replaying into {target.topic}, which is no topic of a worker of the replay's own", err=True)
    else:
        click.echo(
            f"replaying into {target.topic}; this worker makes candles of it, apart from the live ones:\n{run}",
            err=True,
        )


async def _play(player: Player, producer: TickProducer, ending: Ending) -> None:
    """Play, and wait until Kafka has it all, however long it is away; a signal ends both."""

    async def end() -> None:
        await ending.asked.wait()
        player.stop()
        producer.stop_waiting()

    asked, telling = asyncio.create_task(end()), asyncio.create_task(_tell_stalls(producer))
    try:
        await player.run()
        written = asyncio.create_task(producer.flush(inf))
        await asyncio.wait((written, asked), return_when=asyncio.FIRST_COMPLETED)
        written.cancel()
    finally:
        asked.cancel()
        telling.cancel()


async def _tell_stalls(producer: TickProducer) -> None:
    """Say that Kafka takes nothing when it does, for else a replay that waits looks as one that hangs."""
    before, is_told = -1, False
    while True:
        await asyncio.sleep(_STALL_S)
        now = producer.counts.acknowledged if producer.buffered else -1
        is_stalled = now == before >= 0
        if is_stalled and not is_told:
            log.warning("Kafka has taken nothing for %g s: the replay waits for it; Ctrl+C ends it", _STALL_S)
        before, is_told = now, is_stalled
