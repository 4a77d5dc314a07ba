"""``stockstream doctor``: every connection and what it leads to, what is wrong with it, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import click

from stockstream.cli.doctor.finding import Finding, all_checked
from stockstream.cli.doctor.kafka import examine_kafka
from stockstream.cli.doctor.machine import check_keys, room_in
from stockstream.cli.doctor.stores import check_registry, examine_clickhouse
from stockstream.cli.doctor.venues import check_calendars, check_sources
from stockstream.cli.question import Question
from stockstream.errors import AnsweredNo
from stockstream.settings import Settings


@click.command(cls=Question)
def command() -> None:
    """Check every connection and what it leads to: say what is wrong and what to do. Changes nothing.

    Exit code 0: all is well; 1: something is wrong; 2: bad settings, so nothing was checked.
    """
    settings = Settings.load()
    findings = asyncio.run(examine(settings))
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.check:{width}}  {'ok   ' if finding.is_good else 'WRONG'}  {finding.told}")
    wrong = sum(not finding.is_good for finding in findings)
    if wrong:
        raise AnsweredNo(f"{wrong} of {len(findings)} checks failed")


async def examine(settings: Settings) -> list[Finding]:
    """Run all checks at once; each gives up in time."""
    here: dict[str, Awaitable[str]] = {"data directory": room_in(settings.data_dir, "STOCKSTREAM_DATA_DIR")}
    if settings.api_key is not None or settings.api_keys_file is not None or not settings.reads_are_open:
        here["API keys"] = check_keys(settings)
    groups = (
        examine_kafka(settings),
        all_checked({"schema registry": check_registry(settings)}),
        examine_clickhouse(settings),
        all_checked({**here, **check_sources(settings), **check_calendars(settings)}),
    )
    return [finding for group in await asyncio.gather(*groups) for finding in group]
