"""What columns hold of one symbol, window by window, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stockstream.core.columns import Columns, Ints
from stockstream.core.interval import INTERVALS_MS, LEDGER, SESSIONS, Key
from stockstream.core.piece import Minute, Piece, Stamped, Summary, piece_of
from stockstream.core.trading import NO_DATE
from stockstream.core.windows import Figures, Stretch, Windows

_LONGEST = max(INTERVALS_MS, key=INTERVALS_MS.__getitem__)


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
    """The accepted trades and snapshots of one symbol and session.

    ``windows`` are those of every interval; ``is_plain``: all are trades of one venue, and none of them has to be
    looked at by itself. Only then are those of longer intervals than the ledger's right. ``clock`` is the one that the
    first minute's ticks move; of a plain run all do.
    """

    key: Key
    windows: Mapping[str, Stretch]
    is_plain: bool
    clock: str
    ticks: Sorted

    @property
    def minutes(self) -> Stretch:
        """The windows of the ledger."""
        return self.windows[LEDGER]

    @property
    def first(self) -> int:
        """The stamp of the first tick in the log."""
        return min([window.first for window in self.windows[_LONGEST]])

    def clocks(self) -> dict[str, int]:
        """The clocks that the ticks move, and how far, epoch ms."""
        moved: dict[str, int] = {}
        if self.is_plain:
            moved[self.clock] = max([window.reached_ms for window in self.windows[_LONGEST]])
            return moved
        for minute in self.minutes:
            plain = [(self.ticks.clocks[minute.venue], minute.reached_ms)]
            for name, reached_ms in self._piece(minute).clocks if minute.is_odd else plain:
                moved[name] = max(reached_ms, moved.get(name, reached_ms))
        return moved

    def pieces(self) -> Iterator[tuple[Minute, Piece]]:
        """The minutes as pieces, in the order of their first ticks in the log."""
        for minute in sorted(self.minutes, key=lambda each: each.first):
            day_ms = None if minute.day_ms == NO_DATE else minute.day_ms
            yield Minute(self.key, minute.start_ms, day_ms), self._piece(minute)

    def _piece(self, minute: Figures) -> Piece:
        ticks = self.ticks.reader(minute.begin, minute.end)
        if minute.is_odd:
            return piece_of(ticks())
        summary = Summary(minute.first, minute.last, minute.partial, minute.ids)
        return Piece(ticks, [(self.ticks.clocks[minute.venue], minute.reached_ms)], summary)

    def stamped(self) -> list[Stamped]:
        """Their ticks, in no order."""
        begins, ends = self.minutes.columns.begin, self.minutes.columns.end
        return self.ticks.reader(int(begins[self.minutes.begin]), int(ends[self.minutes.end - 1]))()


def runs_of(minutes: Windows, ticks: Sorted) -> Iterator[Run]:
    """The runs of a batch, from the windows of the ledger of all symbols."""
    columns = {interval: minutes if interval == LEDGER else minutes.rolled_up(interval) for interval in INTERVALS_MS}
    plain = minutes.plain()
    for stretches in zip(*(windows.of_keys() for windows in columns.values()), strict=True):
        windows = dict(zip(columns, stretches, strict=True))
        chosen = slice(windows[LEDGER].begin, windows[LEDGER].end)
        venues = minutes.venue[chosen]
        symbol, session = divmod(int(minutes.key[chosen.start]), len(SESSIONS))
        yield Run(
            (ticks.columns.symbols[symbol], SESSIONS[session]),
            windows,
            bool(plain[chosen].all() and (venues == venues[0]).all()),
            ticks.clocks[int(venues[0])],
            ticks,
        )
