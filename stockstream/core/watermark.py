"""How far event time has come, and which windows are still open.

A clock belongs to one (source, exchange) within a partition, so that one market's ticks never close another's candles.
It moves with its ticks, and at wall rate since the newest of them only while the consumer has nothing left to read:
quiet symbols close in time, and a replay closes nothing early.
"""

from __future__ import annotations

from heapq import heappop, heappush

from stockstream.core.interval import Address


class Clock:
    """The event time of one (source, exchange): the greatest seen, epoch ms."""

    __slots__ = ("arrived_ms", "event_ms")

    def __init__(self, event_ms: int, arrived_ms: int) -> None:
        self.event_ms = event_ms
        self.arrived_ms = arrived_ms

    def read(self, now_ms: int, idle: bool) -> int:
        """Event time now; ``now_ms`` is any steady clock, ``idle`` that there is nothing left to read."""
        return self.event_ms + max(0, now_ms - self.arrived_ms) if idle else self.event_ms


class Clocks:
    """Every clock of a partition, and the windows that wait for each."""

    def __init__(self, close_delay_ms: int) -> None:
        self._close_delay_ms = close_delay_ms
        self._clocks: dict[str, Clock] = {}
        self._open: dict[str, list[tuple[int, Address]]] = {}
        self._waiting: set[tuple[str, Address]] = set()

    def move(self, name: str, event_ms: int, now_ms: int) -> None:
        """A tick of this clock was read. An older one changes nothing: repeated last prices must not hold it up."""
        clock = self._clocks.get(name)
        if clock is None:
            self._clocks[name] = Clock(event_ms, now_ms)
            return
        if event_ms > clock.event_ms:
            clock.event_ms, clock.arrived_ms = event_ms, now_ms

    def wait(self, name: str, ends_ms: int, at: Address) -> None:
        """Have the window closed when the clock reaches its end."""
        if (name, at) not in self._waiting:
            self._waiting.add((name, at))
            heappush(self._open.setdefault(name, []), (ends_ms, at))

    def due(self, now_ms: int, idle: bool) -> list[Address]:
        """The windows that end now; each is told once."""
        ended: list[Address] = []
        for name, heap in self._open.items():
            clock = self._clocks.get(name)
            if clock is None:
                continue
            reached_ms = clock.read(now_ms, idle) - self._close_delay_ms
            while heap and heap[0][0] <= reached_ms:
                at = heappop(heap)[1]
                self._waiting.discard((name, at))
                ended.append(at)
        return ended

    def read(self, name: str) -> int | None:
        """Event time of a clock by its ticks alone, epoch ms."""
        clock = self._clocks.get(name)
        return None if clock is None else clock.event_ms

    def ended_ms(self, name: str) -> int:
        """Up to when windows have ended by this clock, whatever is left to read, epoch ms; -1 for none."""
        clock = self._clocks.get(name)
        return -1 if clock is None else clock.event_ms - self._close_delay_ms
