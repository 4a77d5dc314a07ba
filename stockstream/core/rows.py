"""Where rows are kept, as the engine sees it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Protocol

from stockstream.core.row import Row

Key = tuple[str, str]
"""(symbol, session)."""

Address = tuple[str, Key, int]
"""(interval, key, window start ms)."""


class Rows(Protocol):
    """The rows of one partition.

    A row given out may be changed by the engine, which then puts it back; until the batch ends, the same address gives
    the same object.
    """

    def get(self, at: Address) -> Row | None:
        """The row at an address."""

    def put(self, at: Address, row: Row) -> None:
        """Store a row."""

    def delete(self, at: Address) -> None:
        """Forget a row."""

    def before(self, at: Address) -> int | None:
        """Start of the nearest earlier row of the same interval and key."""

    def after(self, at: Address) -> int | None:
        """Start of the nearest later row of the same interval and key."""


class MemoryRows:
    """Rows in memory: the offline host, and tests."""

    def __init__(self) -> None:
        self._rows: dict[Address, Row] = {}
        self._starts: dict[tuple[str, Key], list[int]] = {}

    def get(self, at: Address) -> Row | None:
        """See `Rows`."""
        return self._rows.get(at)

    def put(self, at: Address, row: Row) -> None:
        """See `Rows`."""
        if at not in self._rows:
            insort(self._starts.setdefault(at[:2], []), at[2])
        self._rows[at] = row

    def delete(self, at: Address) -> None:
        """See `Rows`."""
        if self._rows.pop(at, None) is not None:
            self._starts[at[:2]].remove(at[2])

    def before(self, at: Address) -> int | None:
        """See `Rows`."""
        starts = self._starts.get(at[:2], [])
        index = bisect_left(starts, at[2])
        return starts[index - 1] if index else None

    def after(self, at: Address) -> int | None:
        """See `Rows`."""
        starts = self._starts.get(at[:2], [])
        index = bisect_right(starts, at[2])
        return starts[index] if index < len(starts) else None

    def addresses(self, interval: str) -> Iterator[Address]:
        """Every address of an interval, by symbol, session and start."""
        for kind, key in sorted(self._starts):
            if kind == interval:
                for start in self._starts[kind, key]:
                    yield kind, key, start
