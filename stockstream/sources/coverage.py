"""What one connection has surely received, kept as the control records that say so in the stream.

A symbol is covered from its ``start`` on until the connection is lost. What follows is a hole; it is told as one
``gap`` record when the symbol is subscribed again, and covered it is from then on. A ``start`` it has none again: that
would say that nobody knows what came before, and nothing of the day could be counted from its open.

All of this is said of when ticks happened, and no moment is exact: ticks are under way for a while, and so may be what
was asked for. Holes are told as long as they may be at most, and subscriptions as short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stockstream.core.interval import MINUTE_MS
from stockstream.models import Tick

SUBSCRIBING = "subscribing"
"""The cause of the hole at the beginning of a minute that began while its symbol was first subscribed."""


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
    """The covered symbols of one connection and the holes of the others; all times are epoch ms.

    What was received at a time happened up to ``latency_ms`` before it; what is subscribed surely flows
    ``effective_after_ms`` later.
    """

    def __init__(self, source: str, latency_ms: int = 0, effective_after_ms: int = 0) -> None:
        self._source = source
        self.latency_ms, self.effective_after_ms = latency_ms, effective_after_ms
        self._covered: dict[str, int] = {}
        self._holes: dict[str, Hole] = {}
        self._inherited: set[str] = set()

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._covered

    def inherit(self, symbols: Iterable[str]) -> None:
        """Others have watched symbols so far, and it is known until when: that is told by who knows it."""
        self._inherited.update(symbols)

    def subscribed(self, symbols: Iterable[str], now_ms: int) -> list[Tick]:
        """Symbols were asked for at ``now_ms``: a ``start`` of each, or where there was a hole the ``gap``."""
        records: list[Tick] = []
        until_ms = now_ms + self.effective_after_ms
        for symbol in symbols:
            hole = self._holes.pop(symbol, None)
            if hole is None:
                records += self._began(symbol, now_ms, until_ms)
            else:
                records.append(self._gap(symbol, hole, until_ms))
                self._covered[symbol] = until_ms
        return records

    def _began(self, symbol: str, now_ms: int, until_ms: int) -> list[Tick]:
        is_inherited = symbol in self._inherited
        self._inherited.discard(symbol)
        since_ms = self._covered[symbol] = now_ms if is_inherited else now_ms - self.latency_ms
        records = [Tick(symbol, since_ms, kind="start", producer_timestamp=now_ms, source=self._source)]
        minute_ms = (until_ms - 1) // MINUTE_MS * MINUTE_MS
        if since_ms < minute_ms and not is_inherited:  # as far as the start goes it is whole
            records.append(self._gap(symbol, Hole(minute_ms, [SUBSCRIBING]), until_ms))
        return records

    def _gap(self, symbol: str, hole: Hole, until_ms: int) -> Tick:
        return Tick(
            symbol,
            hole.from_ms,
            kind="gap",
            producer_timestamp=until_ms,  # not before it: what lies in the future is refused
            source=self._source,
            until=max(until_ms, hole.from_ms),  # a wall clock that was set back must not make it end before it begins
            cause=", ".join(hole.causes),
        )

    def lost(self, heard_ms: int, cause: str) -> None:
        """The connection is gone, or was not made; all that came until ``heard_ms`` has been received."""
        for symbol, since_ms in self._covered.items():
            self._holes[symbol] = Hole(max(since_ms, heard_ms - self.latency_ms))
        self._covered.clear()
        for hole in self._holes.values():
            hole.add(cause)

    def removed(self, symbols: Sequence[str]) -> None:
        """Symbols are wanted no more: what is missed of them is no hole."""
        for symbol in symbols:
            self._covered.pop(symbol, None)
            self._holes.pop(symbol, None)
