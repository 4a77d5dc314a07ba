"""One trading date with its real bounds, and how a date gets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from stockstream.calendars.definition import (
    AUCTION,
    BREAK,
    CONTINUOUS,
    DAY_MINUTES,
    EXTENDED_HOURS,
    FIXED_PRICE,
    LAST_PRINTS,
    PUT_THROUGH,
    TRADED,
    Bounds,
    Hours,
    PhaseRule,
    Special,
)
from stockstream.core.interval import EXTENDED, REGULAR

SESSION_OF_PHASE = dict.fromkeys((*TRADED, LAST_PRINTS), REGULAR)
SESSION_OF_PHASE |= {EXTENDED_HOURS: EXTENDED}

_STRONGEST_FIRST = (BREAK, AUCTION, FIXED_PRICE, CONTINUOUS, LAST_PRINTS, EXTENDED_HOURS, PUT_THROUGH)
_LAST_PRINTS_MINUTES = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of a trading date, ``[start_ms, end_ms)``."""

    name: str
    kind: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """A trading date with its bounds, epoch ms; all ends are exclusive.

    ``open_ms`` and ``close_ms`` are those that the exchange publishes. Regular trades happen in
    ``[open_ms, regular_end_ms)``, which takes in an auction after the close, and the minute in which an exchange still
    prints the trades of the last moment. All of the date, extended hours too, is in ``[start_ms, end_ms)``.
    """

    day: date
    open_ms: int
    close_ms: int
    regular_end_ms: int
    start_ms: int
    end_ms: int
    parts: tuple[Part, ...]
    opens_late: bool
    closes_early: bool

    @property
    def breaks(self) -> tuple[Part, ...]:
        """The parts in which nothing is traded."""
        return tuple(part for part in self.parts if part.kind == BREAK)


@dataclass(frozen=True, slots=True)
class Shape:
    """What dates with the same hours have in common, in minutes from their midnight.

    From ``edges[i][0]`` on a date is in the phase ``edges[i][1]``; the last edge, of no phase, is its end.
    """

    bounds: Bounds
    usual: Bounds
    parts: tuple[tuple[str, str, Bounds], ...]
    edges: tuple[tuple[int, str | None], ...]

    def session(self, day: date, to_ms: Callable[[int], int]) -> Session:
        """The session of a date; ``to_ms`` says when a minute of it is."""
        regular_end = max(until for (_, kind), (until, _) in pairwise(self.edges) if kind in _REGULAR)
        return Session(
            day,
            to_ms(self.bounds[0]),
            to_ms(self.bounds[1]),
            to_ms(regular_end),
            to_ms(self.edges[0][0]),
            to_ms(self.edges[-1][0]),
            tuple(Part(name, kind, to_ms(start), to_ms(end)) for name, kind, (start, end) in self.parts),
            self.bounds[0] > self.usual[0],
            self.bounds[1] < self.usual[1],
        )


_REGULAR = {phase for phase, session in SESSION_OF_PHASE.items() if session == REGULAR}


def shape_of(usual: Hours, special: Special | None, phases: tuple[PhaseRule, ...], extended: Bounds | None) -> Shape:
    """How a date is divided whose usual hours, own hours and phases are these.

    What is anchored to the open or the close moves with it, and so does the end of the extended hours with the close; a
    break that the close does not leave room for falls away.
    """
    usual_open, usual_close = usual.bounds
    start, end = usual.bounds if special is None else special.bounds(usual.bounds)
    moved = {"open": start - usual_open, "close": end - usual_close, None: 0}
    breaks = usual.breaks if special is None or special.breaks is None else special.breaks
    parts = [("break", BREAK, bounds) for bounds in breaks if start < bounds[0] and bounds[1] < end]
    for rule in phases:
        bounds = rule.bounds[0] + moved[rule.anchor], rule.bounds[1] + moved[rule.anchor]
        if rule.kind != BREAK or (start < bounds[0] and bounds[1] <= usual_close and bounds[0] < end):
            parts.append((rule.name, rule.kind, bounds))
    if extended is not None:
        markets = {"pre-market": (extended[0], start), "post-market": (end, extended[1] + moved["close"])}
        parts += [(name, EXTENDED_HOURS, bounds) for name, bounds in markets.items() if bounds[0] < bounds[1]]
    parts.sort(key=lambda part: part[2])
    return Shape((start, end), usual.bounds, tuple(parts), _edges((start, end), parts))


def _edges(regular: Bounds, parts: list[tuple[str, str, Bounds]]) -> tuple[tuple[int, str | None], ...]:
    painted = [(CONTINUOUS, regular), *((kind, bounds) for _, kind, bounds in parts)]
    last = max(end for kind, (_, end) in painted if kind in TRADED)
    ends_in_break = any(kind == BREAK and bounds[0] < last <= bounds[1] for kind, bounds in painted)
    if not ends_in_break and last + _LAST_PRINTS_MINUTES - regular[0] <= DAY_MINUTES:
        painted.append((LAST_PRINTS, (last, last + _LAST_PRINTS_MINUTES)))
    painted.sort(key=lambda each: _STRONGEST_FIRST.index(each[0]))
    minutes = sorted({minute for _, bounds in painted for minute in bounds})
    edges: list[tuple[int, str | None]] = []
    for minute in minutes:
        phase = next((kind for kind, (start, end) in painted if start <= minute < end), None)
        if not edges or edges[-1][1] != phase:
            edges.append((minute, phase))
    return tuple(edges)
