"""``stockstream replay``: a trades file into a topic, at the pace of its time or faster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from math import inf

import click

from stockstream.broker.producer import TickProducer
from stockstream.cli.columns import parse_columns, parse_symbol
from stockstream.cli.connect import connected_producer
from stockstream.cli.ending import Ending
from stockstream.cli.progress import progress
from stockstream.errors import BrokerUnreachable
from stockstream.models import Tick
from stockstream.settings import Settings
from stockstream.sources.replay.files import open_recording
from stockstream.sources.replay.player import Player
from stockstream.sources.replay.rows import DEFAULT_SYMBOL, Recording

log = logging.getLogger(__name__)

REPLAY_PREFIX = "replay-"
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


@click.command()
@click.argument("file")
@click.option("--topic", help="Topic to write, as it is named. [default: replay- and the first tick topic]")
@click.option(
    "--symbol", callback=parse_symbol, help="Symbol of a file without a symbol column; else the only one to replay."
)
@click.option(
    "--speed", callback=parse_speed, default="1", show_default=True, help="×N of the trades' own time, or max."
)
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
def command(file: str, topic: str | None, symbol: str | None, speed: float | None, columns: Mapping[str, str]) -> None:
    """Produce the trades of FILE, as `stockstream candles` reads it, into a topic.

    Never into the live topics unless --topic says so: run the worker that reads them with an app id of its own and
    STOCKSTREAM_TOPIC_PREFIX=replay-. Each trade counts as received when it happened, so none is late. While Kafka is
    away the replay waits; Ctrl+C writes what was read, and ends it.
    """
    settings = Settings.load()
    with open_recording(file, columns, symbol or DEFAULT_SYMBOL) as trades:
        only = symbol if trades.has_symbol else None
        code = asyncio.run(_replay(settings, topic or _default_topic(settings), trades, only, speed))
    click.get_current_context().exit(code)


def _default_topic(settings: Settings) -> str:
    name = settings.topic(settings.tick_topics[0])
    return name if name.startswith(REPLAY_PREFIX) else REPLAY_PREFIX + name


async def _replay(settings: Settings, topic: str, trades: Recording, only: str | None, speed: float | None) -> int:
    """Replay, print the counts, return the exit code."""
    ending = Ending()
    producer = await connected_producer(settings, topic, shed_after_s=inf)
    began_s = time.monotonic()
    try:
        with progress("replaying", trades.size_bytes) as told:

            async def emit(ticks: Sequence[Tick]) -> None:
                told(trades.position_bytes)
                await producer.send(ticks)

            await _play(Player(trades, emit, speed=speed, only=only), producer, ending)
    finally:
        unwritten = await producer.close()
        click.echo(
            f"{producer.counts.acknowledged:,} of {producer.counts.accepted:,} trades written to {topic}, "
            f"symbols: {len(producer.symbols)}, in {time.monotonic() - began_s:.1f} s"
            f"{', interrupted' if ending.code else ''}"
        )
    if unwritten:
        raise BrokerUnreachable(f"Kafka has not confirmed {unwritten:,} of the trades: they may be written or not")
    return ending.code


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
