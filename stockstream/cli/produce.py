"""``stockstream produce``: a venue's live ticks into its topic, for deployments without producers in the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from stockstream.adapters import feed_of, poll_of, runner_of
from stockstream.agents.ingest_report import Report
from stockstream.cli.connect import connected_producer, now_ms
from stockstream.cli.ending import Ending
from stockstream.cli.loop import resting_loop
from stockstream.core.allocation import ConnectionId
from stockstream.errors import InvalidInput, SettingsError
from stockstream.settings import Settings, read_symbols, split, variable
from stockstream.sources.catalog import SOURCES, Source, source_of
from stockstream.sources.contract import Feed, Guarded
from stockstream.sources.credentials import refused_key
from stockstream.sources.limits import attempts_of
from stockstream.sources.sim.options import url_of

log = logging.getLogger(__name__)

_FLUSH_S = 10.0
_LEAVE_S = 10.0
_ADMISSION_S = 5.0


@click.command()
@click.argument("source", type=click.Choice(sorted(SOURCES)))
@click.option("--symbols", help="Comma-separated. [default: SYMBOLS]")
@click.option("--symbols-file", type=click.Path(), help="A file with one symbol a line; what follows a # is ignored.")
@click.option("--url", help="Where the venue is, if not at its own address.")
@click.option("--seed", type=int, help="Of the simulated market: the same seed is the same market. [default: 0]")
@click.option("--ticks-per-s", type=float, help="Of the simulated market: of each symbol, on average. [default: 1]")
@click.option("--report-every", type=click.FloatRange(min=1), help="Seconds. [default: STOCKSTREAM_REPORT_INTERVAL_S]")
def command(
    source: str,
    symbols: str | None,
    symbols_file: str | None,
    url: str | None,
    seed: int | None,
    ticks_per_s: float | None,
    report_every: float | None,
) -> None:
    """Produce the live ticks of SOURCE until Ctrl+C or SIGTERM, which write what was received.

    A key that is missing, or that the venue refuses when it is asked for an access token, ends it before anything else.
    """
    settings = Settings.load()
    venue = SOURCES[source]
    if seed is not None or ticks_per_s is not None:
        if source != "sim" or url is not None:
            raise click.UsageError("--seed and --ticks-per-s are of sim, and in place of --url")
        url = url_of(seed=seed, ticks_per_s=ticks_per_s)
    wanted = _wanted(settings, venue, symbols, symbols_file)
    logging.getLogger("stockstream").setLevel(logging.INFO)
    feeds = _feeds(settings, venue, len(wanted), url)
    work = _produce(settings, venue, wanted, feeds, report_every or settings.report_interval_s)
    with asyncio.Runner(loop_factory=resting_loop) as runner:
        code = runner.run(work)
    click.get_current_context().exit(code)


def _wanted(settings: Settings, venue: Source, listed: str | None, path: str | None) -> list[str]:
    """The symbols to produce: those named here, which must be the venue's, or the venue's among the settings'."""
    if listed is not None and path is not None:
        raise click.UsageError("--symbols and --symbols-file are both given: keep one")
    named = read_symbols(Path(path)) if path is not None else None if listed is None else split(listed)
    owners = {symbol: source_of(symbol) for symbol in (settings.all_symbols() if named is None else named)}
    others = [symbol for symbol, owner in owners.items() if owner is not venue]
    if others and named is not None:
        owner = owners[others[0]]
        raise InvalidInput(f"{others[0]} belongs to {owner.name}, not to {venue.name}: produce it with that source")
    found = [symbol for symbol, owner in owners.items() if owner is venue]
    if not found:
        example = "AAPL,BTC-USD" if venue.name == "yahoo" else f"{venue.name.upper()}:…"
        raise SettingsError(
            f"no symbols of {venue.name} to subscribe: set SYMBOLS={example} or give --symbols or --symbols-file"
        )
    return found


def _feeds(settings: Settings, venue: Source, symbols: int, url: str | None) -> list[Feed]:
    """As many as the symbols need; raises if the venue allows fewer, or needs a key that is not set."""
    first = feed_of(settings, venue, url)
    if isinstance(first, Guarded) and (lack := first.lacks()) is not None:
        raise SettingsError(lack)
    room = first.capabilities.symbols_per_connection
    count = -(-symbols // room)
    if count > (first.capabilities.connections or count):
        taken, plan = room * (first.capabilities.connections or 1), f"{venue.name}_symbols"
        more = f", or set {variable(plan)} to what your plan allows" if plan in venue.settings else ""
        raise InvalidInput(f"{venue.name} takes {taken} symbols, not {symbols}: name fewer{more}")
    return [first, *(feed_of(settings, venue, url) for _ in range(count - 1))]


async def _produce(
    settings: Settings, venue: Source, symbols: Sequence[str], feeds: Sequence[Feed], report_every_s: float
) -> int:
    ending = Ending()
    await _check_key(feeds[0])
    producer = await connected_producer(settings, settings.topic(venue.topic))
    poll, attempts = poll_of(settings, venue), attempts_of(venue.capabilities)
    chunks = _chunks(symbols, feeds[0].capabilities.symbols_per_connection)
    runners = [
        runner_of(
            venue,
            feed,
            chunk,
            producer,
            ConnectionId(venue.name, number),
            now_ms=now_ms,
            attempts=attempts,
            poll=poll,
        )
        for number, (feed, chunk) in enumerate(zip(feeds, chunks, strict=True))
    ]
    report = Report(venue.name, producer, lambda: [runner.status for runner in runners], now_ms=now_ms)
    running: list[asyncio.Task[Any]] = [asyncio.create_task(runner.run()) for runner in runners]
    reporting = asyncio.create_task(_report(report, report_every_s))
    waiting: asyncio.Task[Any] = asyncio.create_task(ending.asked.wait())
    try:
        await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
        producer.stop_waiting()
        await asyncio.gather(*(runner.stop() for runner in runners))
        await asyncio.wait(running, timeout=_LEAVE_S)
        for task in running:
            if task.done():
                task.result()
    finally:
        for task in (reporting, waiting, *running):
            task.cancel()
        if poll is not None:
            await poll.close()
        unwritten = await producer.close(_FLUSH_S)
        report.print_table()
    return 1 if unwritten else ending.code


async def _check_key(feed: Feed) -> None:
    """Raise `SettingsError` if the venue refuses the key; that it is away is found out again when it is needed."""
    if isinstance(feed, Guarded):
        try:
            refusal = await asyncio.wait_for(refused_key(feed), _ADMISSION_S)
        except TimeoutError:
            return
        if refusal is not None:
            raise SettingsError(refusal)


async def _report(report: Report, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        report.log()


def _chunks(symbols: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(symbols), size):
        yield symbols[first : first + size]
