"""``stockstream settings``: what is in force, and where it comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from stockstream.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Print the effective settings, secrets masked, with their origin."""
    shown: dict[str, Any] = Settings.load().masked()
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    rows = [(name, _text(of["value"]), of["source"]) for name, of in shown.items()]
    width = max(len(name) for name, _, _ in rows)
    value_width = min(max(len(value) for _, value, _ in rows), 60)
    for name, value, source in rows:
        click.echo(f"{name:{width}}  {value:{value_width}}  {source}")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={of}" for key, of in value.items())
    return "" if value is None else str(value)
