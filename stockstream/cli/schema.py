"""``stockstream schema``: the schemas in the registry."""

from __future__ import annotations

import asyncio

import click

from stockstream.adapters import registry_of
from stockstream.cli.connect import subjects_of
from stockstream.cli.question import Question
from stockstream.errors import AnsweredNo, SchemaRefused
from stockstream.settings import Settings


@click.command(cls=Question)
@click.argument("action", type=click.Choice(["check", "register"]), default="check")
def command(action: str) -> None:
    """Check, or register, the schemas of all topics.

    check changes nothing. Exit code 0: the registry has them, or takes them; 1: it refuses some; 2: it could not be
    asked.
    """
    refused = asyncio.run(_run(Settings.load(), register=action == "register"))
    if refused:
        raise AnsweredNo(f"{refused} of the schemas above {'is' if refused == 1 else 'are'} refused")


async def _run(settings: Settings, *, register: bool) -> int:
    """Print a line for each subject; return how many were refused."""
    registry = registry_of(settings)
    refused = 0
    try:
        for subject, schema in subjects_of(settings).items():
            try:
                is_there = await registry.check(subject, schema)
                if register:
                    state = f"registered with id {await registry.ensure(subject, schema)}"
                else:
                    state = "registered" if is_there else "missing: can be registered"
            except SchemaRefused as error:
                refused += 1
                state = f"refused: {error}"
            click.echo(f"{subject}: {state}")
    finally:
        await registry.close()
    return refused
