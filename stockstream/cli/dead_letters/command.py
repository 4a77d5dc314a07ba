"""``stockstream dead-letters list``, ``show`` and ``replay``."""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from stockstream.adapters import connection_of, registry_of
from stockstream.cli.columns import parse_symbol
from stockstream.cli.dead_letters.advice import ADVICE, Outlook
from stockstream.cli.dead_letters.letters import Filter, Letter, read_letters
from stockstream.cli.dead_letters.replay import Plan, plan_replay, send
from stockstream.cli.dead_letters.show import describe, json_line, table
from stockstream.cli.place import Place
from stockstream.cli.question import Question
from stockstream.cli.text import plain
from stockstream.cli.times import parse_time_option
from stockstream.codecs import BadRecord
from stockstream.errors import InvalidInput, StockstreamError
from stockstream.settings import Settings

_LISTED = 100
_FILTERS = (
    click.option("--reason", type=click.Choice([str(reason) for reason in ADVICE]), help="Why it was put away."),
    click.option("--topic", help="The topic that the record lay in, as it is named in Kafka."),
    click.option("--symbol", callback=parse_symbol, help="The record's key."),
    click.option(
        "--from", "from_ms", callback=parse_time_option, help="Put away then or later: a date, RFC 3339 or ms."
    ),
    click.option("--to", "to_ms", callback=parse_time_option, help="Put away before."),
)


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """The records that no candle takes: see them, and send them again once they can succeed."""


@command.command("list")
@_filters
@click.option("--limit", type=click.IntRange(min=1), help=f"At most so many. [default: {_LISTED}; with --json all]")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@click.option("--count", "counting", is_flag=True, help="Only how many there are, by reason.")
def list_(limit: int | None, as_json: bool, counting: bool, **filters: Any) -> None:
    """List the letters, the newest first."""
    settings = Settings.load()
    counts, letters = asyncio.run(_listed(settings, Filter(**filters), 0 if counting else limit, as_json))
    total = counts.total()
    if counting:
        if as_json:
            click.echo(json.dumps(dict(counts.most_common())))
            return
        for reason, count in counts.most_common():
            click.echo(f"{count:>12,}  {plain(reason)}")
        click.echo(f"{total:>12,}  in all")
    elif as_json:
        for letter in letters:
            click.echo(json_line(letter))
    elif not letters:
        click.echo("no dead letters", err=True)
    else:
        for line in table(letters):
            click.echo(line)
        if total > len(letters):
            click.echo(
                f"the newest {len(letters):,} of {total:,}: --limit shows more, --count how many by reason", err=True
            )


async def _listed(
    settings: Settings, chosen: Filter, limit: int | None, unbounded: bool
) -> tuple[Counter[str], list[Letter]]:
    """How many letters there are by reason, and the newest of them, newest first, without their values."""
    counts: Counter[str] = Counter()
    most = limit if limit is not None else None if unbounded else _LISTED
    newest: list[tuple[int, Place, Letter]] = []
    async for letter in read_letters(connection_of(settings), settings.topic("dead-letters"), chosen):
        counts[letter.reason] += 1
        if most != 0:
            heapq.heappush(newest, (letter.put_away_ms, letter.place, letter.without_value()))
            if most is not None and len(newest) > most:
                heapq.heappop(newest)
    return counts, [letter for _, _, letter in sorted(newest, key=lambda each: each[:2], reverse=True)]


def _parse_place(ctx: click.Context, parameter: click.Parameter, text: str) -> Place:
    try:
        return Place.of(text)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from error


@command.command()
@click.argument("place", callback=_parse_place)
def show(place: Place) -> None:
    """Show all of a letter: PLACE is TOPIC-PARTITION-OFFSET of the record, as `list` tells it, or of the letter."""
    settings = Settings.load()
    for line in asyncio.run(_shown(settings, place)):
        click.echo(line)


async def _shown(settings: Settings, place: Place) -> list[str]:
    topic = settings.topic("dead-letters")
    found: list[Letter] = []
    async for letter in read_letters(connection_of(settings), topic, Filter()):
        if place in (letter.origin, letter.place):
            found.append(letter)
    if not found:
        raise InvalidInput(f"no letter of {place}: `stockstream dead-letters list` tells which there are")
    registry = registry_of(settings)
    lines: list[str] = []
    try:
        outlook = Outlook(settings, registry)
        for letter in found:
            try:
                await outlook.prepare(letter)
                content: Any = outlook.content(letter)
            except (BadRecord, StockstreamError) as error:
                content = str(error)
            lines += [*([""] if lines else []), *describe(letter, content)]
    finally:
        await registry.close()
    return lines


@command.command(cls=Question)
@_filters
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the newest.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def replay(limit: int | None, dry_run: bool, yes: bool, **filters: Any) -> None:
    """Send letters back to the topics that they came from: the same bytes, by the same key, oldest first.

    A letter whose bytes cannot succeed by the settings and the registry as they are now is refused. None is replayed
    twice: a replayed record tells in its header `dead-letter` where it first lay, and the topics are looked through for
    those. Exit code 0: all that were chosen are there now; 1: some were refused; 2: a server is away.
    """
    settings = Settings.load()
    plan = asyncio.run(_planned(settings, Filter(**filters), limit))
    for why, letters in plan.refused.items():
        reasons = ", ".join(sorted({letter.reason for letter in letters}))
        click.echo(
            f"refused {len(letters):,} ({plain(reasons)}; {plain(str(letters[0].origin))}): {plain(why)}", err=True
        )
    if plan.done:
        click.echo(f"{plan.done:,} replayed before")
    code = 0
    if dry_run:
        for topic, count in Counter(letter.origin.topic for letter in plan.ready).items():
            click.echo(f"would replay {count:,} to {topic}")
    elif plan.ready:
        if not yes and _is_terminal() and not click.confirm(f"Replay {len(plan.ready):,} letters?", err=True):
            click.get_current_context().exit(1)
        sent, code = asyncio.run(send(connection_of(settings), plan.ready))
        click.echo(f"{sent:,} of {len(plan.ready):,} letters replayed{', interrupted' if code else ''}")
    if not (plan.ready or plan.done or plan.refused):
        click.echo("no dead letters", err=True)
    click.get_current_context().exit(code or (1 if plan.refused else 0))


def _is_terminal() -> bool:
    return sys.stdin.isatty()


async def _planned(settings: Settings, chosen: Filter, limit: int | None) -> Plan:
    registry = registry_of(settings)
    try:
        outlook = Outlook(settings, registry)
        return await plan_replay(connection_of(settings), settings.topic("dead-letters"), chosen, limit, outlook)
    finally:
        await registry.close()
