"""What columns hold of one symbol, minute by minute, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stockstream.core.columns import Columns, Ints
from stockstream.core.partial import E8, Cumulative, Edge, Partial
from stockstream.core.piece import Minute, Piece, Stamped, Summary, piece_of
from stockstream.core.rows import Key


class Figures(NamedTuple):
    """What the ticks of one symbol and minute come to.

    ``begin`` and ``end`` are theirs in the order of the groups; ``first`` and ``last`` their stamps at both ends.
    ``is_odd``: their ids do not ascend, or venues take turns, so that they have to be looked at one by one.
    """

    start_ms: int
    is_odd: bool
    begin: int
    end: int
    first: int
    last: int
    venue: int
    reached_ms: int
    open: Edge
    close: Edge
    high: float
    low: float
    units: int
    rest_e8: int
    turnover: float
    turnover_low: float
    trades: int
    cumulative: Cumulative | None
    ids: list[int]

    @property
    def partial(self) -> Partial:
        """The summary of them."""
        return Partial(
            self.open, self.close, self.high, self.low, self.units * E8 + self.rest_e8, self.turnover,
            self.turnover_low, self.trades, self.cumulative,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sorted:
    """Columns of accepted ticks in the ``order`` of their symbols and minutes; ``base``: the stamp of offset 0."""

    columns: Columns
    base: int
    order: Ints
    clocks: Sequence[str]
    """By venue, the name of the clock that it moves."""

    def reader(self, begin: int, end: int) -> Callable[[], list[Stamped]]:
        """Reads the ticks of a stretch of ``order``."""
        return stamped_reader(self.columns, self.base, self.order[begin:end])


def stamped_reader(columns: Columns, base: int, indices: Ints) -> Callable[[], list[Stamped]]:
    """Reads the ticks at ``indices``."""
    return lambda: [(base + int(columns.offset[index]), columns.tick(index)) for index in indices.tolist()]


@dataclass(frozen=True, slots=True)
class Run:
    """The accepted trades and snapshots of one symbol; ``minutes``, at least one, ascend."""

    key: Key
    minutes: list[Figures]
    ticks: Sorted

    @property
    def clock(self) -> str:
        """The clock that the first minute's ticks move."""
        return self.ticks.clocks[self.minutes[0].venue]

    def clocks(self) -> dict[str, int]:
        """The clocks that they move, and how far, epoch ms."""
        moved: dict[str, int] = {}
        for minute in self.minutes:
            if minute.is_odd:
                for name, reached_ms in self.piece(minute).clocks:
                    moved[name] = max(reached_ms, moved.get(name, reached_ms))
            else:
                name, reached_ms = self.ticks.clocks[minute.venue], minute.reached_ms
                if moved.get(name, -1) < reached_ms:
                    moved[name] = reached_ms
        return moved

    def piece(self, minute: Figures) -> Piece:
        """The piece of one minute."""
        ticks = self.ticks.reader(minute.begin, minute.end)
        if minute.is_odd:
            return piece_of(ticks())
        summary = Summary(minute.first, minute.last, minute.partial, minute.ids)
        return Piece(ticks, [(self.ticks.clocks[minute.venue], minute.reached_ms)], summary)

    def pieces(self) -> Iterator[tuple[Minute, Piece]]:
        """All of them."""
        for minute in self.minutes:
            yield (self.key, minute.start_ms), self.piece(minute)

    def stamped(self) -> list[Stamped]:
        """Their ticks, in no order."""
        return self.ticks.reader(self.minutes[0].begin, self.minutes[-1].end)()
