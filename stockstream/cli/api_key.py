"""``stockstream api-key``: a new key for a worker's HTTP side."""

from __future__ import annotations

import time

import click

from stockstream.cli.times import parse_time_option
from stockstream.errors import InvalidInput
from stockstream.settings import split
from stockstream.web.keys import SCOPES, make_key


@click.command()
@click.argument("name")
@click.option("--scopes", required=True, help=f"What it may do, by comma: {', '.join(SCOPES)}.")
@click.option(
    "--expires",
    "expires_ms",
    callback=parse_time_option,
    metavar="TIME",
    help="When it ends: 2027-01-31 (UTC), or RFC 3339; never, if left out.",
)
def command(name: str, scopes: str, expires_ms: int | None) -> None:
    """Make an API key called NAME.

    Its line for the file that STOCKSTREAM_API_KEYS_FILE names goes to stdout; the secret, which is shown this once and
    kept nowhere, to stderr. So this adds a key, and shows it:

        stockstream api-key ci --scopes subscriptions:write >> api-keys

    Workers read the file again within a second. To rotate a key, add one under another name, and remove the old line
    when nobody uses it any more. Exit codes: 0 made, 2 bad usage.
    """
    if expires_ms is not None and expires_ms <= time.time() * 1000:
        raise click.BadParameter("that is in the past", param_hint="--expires")
    try:
        secret, key = make_key(name, split(scopes), expires_ms)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"the secret of {key.id}, to be kept safe, for it is not shown again:", err=True)
    click.echo(secret, err=True)
    click.echo(key.line)
