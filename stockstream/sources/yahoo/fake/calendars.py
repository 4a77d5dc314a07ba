"""Calendars of a market that never closes: whatever its exchanges do in truth, they trade around the clock here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stockstream.calendars.catalog import EXCHANGES
from stockstream.sources.market import Instrument
from stockstream.sources.yahoo.feed import suffix_of

ALWAYS_OPEN = "24/7"


def write_always_open(folder: Path, listed: Iterable[Instrument]) -> dict[str, str]:
    """Write them into ``folder``, which is there; returns the variables that have a worker go by them."""
    instruments = list(listed)
    tables = {
        "exchanges": {each.exchange for each in instruments},
        "suffixes": {suffix_of(each.symbol) for each in instruments},
    }
    lines = []
    for table, names in tables.items():
        lines += [f"[yahoo.{table}]", *(f'"{name}" = "{ALWAYS_OPEN}"' for name in sorted(names))]
    (folder / f"{EXCHANGES}.toml").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return {"STOCKSTREAM_CALENDARS": str(folder)}
