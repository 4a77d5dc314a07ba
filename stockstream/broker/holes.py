"""What had to be shed, as the control records that will say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stockstream.models import Tick

_CAUSE = "shed"


@dataclass(slots=True)
class _Hole:
    """From the earliest to the latest event time of what was shed, and the first ``start`` among it."""

    source: str
    from_ms: int | None = None
    until_ms: int = 0
    start: Tick | None = None


class Holes:
    """The symbols of which ticks were shed since they were last told."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._holes: dict[str, _Hole] = {}

    def __len__(self) -> int:
        return len(self._holes)

    def add(self, tick: Tick) -> None:
        """A record was shed: a price leaves a hole, a ``gap`` joins it, a ``start`` is kept; others leave none."""
        hole = self._holes.get(tick.symbol)
        if hole is None:
            hole = self._holes[tick.symbol] = _Hole(tick.source)
        if tick.kind == "start":
            hole.start = hole.start or tick
        elif tick.kind not in ("quote", "repair"):
            first_ms, last_ms = tick.event_time, tick.until if tick.until is not None else tick.event_time
            hole.from_ms = first_ms if hole.from_ms is None else min(hole.from_ms, first_ms)
            hole.until_ms = max(hole.until_ms, last_ms)

    def close(self) -> list[Tick]:
        """The records of all holes, ``gap`` before ``start``; they are forgotten."""
        records = []
        for symbol, hole in self._holes.items():
            if hole.from_ms is not None:
                records.append(
                    Tick(
                        symbol,
                        hole.from_ms,
                        kind="gap",
                        producer_timestamp=self._now_ms(),
                        source=hole.source,
                        until=hole.until_ms,
                        cause=_CAUSE,
                    )
                )
            if hole.start is not None:
                records.append(hole.start)
        self._holes.clear()
        return records
