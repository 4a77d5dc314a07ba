"""Options that are times."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from stockstream.errors import InvalidInput
from stockstream.web.times import parse_time

_DAY = 10


def parse_time_option(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return RFC 3339, a UTC date or epoch milliseconds as epoch milliseconds."""
    if text is None:
        return None
    name = f"--{parameter.name}".replace("_", "-").removesuffix("-ms")
    try:
        if len(text) == _DAY and text[4:8:3] == "--":
            return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        return parse_time(name, text)
    except (InvalidInput, ValueError) as error:
        raise click.BadParameter(f"{text!r} is no time: write 2025-01-31, 2025-01-31T09:30:00Z or epoch ms") from error
