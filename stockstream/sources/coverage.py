"""What one connection has surely received, kept as the control records that say so in the stream.

A symbol is covered from its ``start`` on until the connection is lost. What follows is a hole; it is told as one
``gap`` record when the symbol is subscribed again, and covered it is from then on. A ``start`` it has none again: that
would say that nobody knows what came before, and nothing of the day could be counted from its open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stockstream.models import Tick


@dataclass(slots=True)
class Hole:
    """Nothing was received since ``from_ms``; ``causes`` in the order in which they came, each once."""

    from_ms: int
    causes: list[str] = field(default_factory=list)

    def add(self, cause: str) -> None:
        """Another reason why the hole goes on."""
        if cause not in self.causes:
            self.causes.append(cause)


class Coverage:
    """The covered symbols of one connection and the holes of the others; all times are epoch ms."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._covered: dict[str, int] = {}
        self._holes: dict[str, Hole] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._covered

    def subscribed(self, symbols: Iterable[str], now_ms: int) -> list[Tick]:
        """Symbols were asked for at ``now_ms``: a ``start`` of each, or where there was a hole the ``gap``."""
        records = []
        for symbol in symbols:
            hole = self._holes.pop(symbol, None)
            if hole is None:
                records.append(Tick(symbol, now_ms, kind="start", producer_timestamp=now_ms, source=self._source))
            else:
                records.append(self._gap(symbol, hole, now_ms))
            self._covered[symbol] = now_ms
        return records

    def _gap(self, symbol: str, hole: Hole, now_ms: int) -> Tick:
        return Tick(
            symbol,
            hole.from_ms,
            kind="gap",
            producer_timestamp=now_ms,
            source=self._source,
            until=max(now_ms, hole.from_ms),  # a wall clock that was set back must not make it end before it begins
            cause=", ".join(hole.causes),
        )

    def lost(self, heard_ms: int, cause: str) -> None:
        """The connection is gone, or was not made; all that came until ``heard_ms`` has been received."""
        for symbol, since_ms in self._covered.items():
            self._holes[symbol] = Hole(max(since_ms, heard_ms))
        self._covered.clear()
        for hole in self._holes.values():
            hole.add(cause)

    def removed(self, symbols: Sequence[str]) -> None:
        """Symbols are wanted no more: what is missed of them is no hole."""
        for symbol in symbols:
            self._covered.pop(symbol, None)
            self._holes.pop(symbol, None)
