"""docs/operations.md names settings and metrics that there are, with their defaults."""

from __future__ import annotations

import re
from pathlib import Path

from stockstream.settings import Settings, variable

FOLDER = Path(__file__).parents[2] / "docs"
TOLD = (FOLDER / "operations.md").read_text(encoding="utf-8")
DEFAULTS = {variable(name): getattr(Settings(), name) for name in Settings.model_fields}


def test_settings_are_known() -> None:
    named = set(re.findall(r"STOCKSTREAM_[A-Z_]*[A-Z]", TOLD))
    assert named
    assert named <= DEFAULTS.keys()


def test_timeouts_have_the_defaults_that_are_told() -> None:
    rows = re.findall(r"^\| `(STOCKSTREAM_\w+)` \| (\d+) \|", TOLD, re.MULTILINE)
    assert len(rows) == 11
    assert {name: float(default) for name, default in rows} == {name: float(DEFAULTS[name]) for name, _ in rows}


def headings(file: str) -> set[str]:
    """What a link may have behind its #."""
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    titles = (line.lstrip("# ").lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def test_headings_that_are_linked_to_are_there() -> None:
    links = re.findall(r"\]\((?!http)([\w.-]*)#([\w-]+)\)", TOLD)
    assert links
    assert [link for link in links if link[1] not in headings(link[0] or "operations.md")] == []
