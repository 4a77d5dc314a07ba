"""Text for terminals and pipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def plain(text: str) -> str:
    """``text`` without anything that a terminal acts upon."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, at least one: every column as wide as its longest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
