"""The options by which a user says how a trades file is written."""

from __future__ import annotations

import click

from stockstream.errors import InvalidInput
from stockstream.models import check_symbol
from stockstream.sources.replay.rows import COLUMNS, UNITS

TIME_UNIT = click.option(
    "--time-unit",
    type=click.Choice(list(UNITS)),
    help="Of the file's times, where they are numbers; what is finer than ms is cut off. [default: ms, from 1980 on]",
)


def parse_columns(ctx: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, str]:
    """Return ``event_ms=time,price=px`` as a mapping from our names to the file's."""
    mapping: dict[str, str] = {}
    for pair in (text or "").split(",") if text else []:
        name, _, theirs = pair.partition("=")
        if name.strip() not in COLUMNS or not theirs.strip():
            raise click.BadParameter(f"{pair!r} is not one of {', '.join(COLUMNS)} with the file's name for it after =")
        mapping[name.strip()] = theirs.strip()
    return mapping


def parse_symbol(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return the symbol if it is one."""
    try:
        return None if text is None else check_symbol(text)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from error


def parse_symbols(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """Return a comma-separated list of symbols."""
    if text is None:
        return None
    symbols = [symbol for part in text.split(",") if (symbol := parse_symbol(ctx, parameter, part.strip() or None))]
    if not symbols:
        raise click.BadParameter("names no symbol")
    return symbols
