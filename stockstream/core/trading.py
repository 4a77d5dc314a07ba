"""Trading dates: in which session, and on which date, a tick counts.

A venue with hours has trading dates of its own; one without trades around the clock, in days of UTC. Dates are told
by a label, the midnight that they would begin with in UTC, epoch ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np

from stockstream.core.columns import Bools, Columns, Ints
from stockstream.core.interval import (
    DAILY,
    DAY_MS,
    EXTENDED,
    INTERVALS_MS,
    REGULAR,
    SESSIONS,
    Address,
    window_end,
    window_start,
)
from stockstream.models import Tick
from stockstream.models.tick import REGULAR_MARKET

NO_DATE = -1
"""In columns, the label of what lies between two trading dates."""

FARTHEST_MS = 14 * 3_600_000
"""No trading date begins farther than this before the day in UTC that it is labelled by, or ends farther after it."""

_MOST_CLOCKS = 1000


class Bounds(NamedTuple):
    """From when to when a date's session is, epoch ms; ``ends_ms``: its last prints have come by then."""

    opens_ms: int
    closes_ms: int
    ends_ms: int


class Place(NamedTuple):
    """Where ticks of some minute count. ``day_ms`` is None between two dates.

    ``is_claimed``: only those that say nothing else are regular, as in the minute after a close, when the last trades
    of the regular session are still printed and those after it have begun.
    """

    session: str
    day_ms: int | None
    is_claimed: bool = False


class Hours(Protocol):
    """When one venue trades. What is not in the regular session is in the extended one, at full minutes."""

    def place(self, at_ms: int) -> Place:
        """Where a tick of that time counts."""
        ...

    def places(self, at_ms: Ints) -> tuple[Ints, Ints, Bools]:
        """The same of many: places in `SESSIONS`, labels or `NO_DATE`, and which are claimed."""
        ...

    def bounds(self, session: str, day_ms: int) -> Bounds:
        """Those of a date's session; of what is no trading date the day in UTC."""
        ...

    def day_ending_after(self, session: str, at_ms: int) -> int:
        """The first trading date whose session ends after ``at_ms``."""
        ...

    def open_before(self, session: str, at_ms: int) -> tuple[int, int] | None:
        """A stretch in which a session is open, of those that begin before ``at_ms`` the last; None: none near."""
        ...


class Trading:
    """Which hours a venue has, asked for by the clock that its ticks move (`stockstream.core.piece.clock_name`)."""

    def __init__(
        self,
        find: Callable[[str, str], Hours | None] = lambda source, exchange: None,
        guess: Callable[[str], Hours | None] = lambda symbol: None,
    ) -> None:
        """``find`` tells the hours of a source and exchange, ``guess`` those of a symbol that was not heard of yet."""
        self._find = find
        self.guessed = guess
        self._known: dict[str, Hours | None] = {}

    def hours(self, clock: str) -> Hours | None:
        """The hours of the venues with that clock; None: around the clock, in days of UTC."""
        try:
            return self._known[clock]
        except KeyError:
            if len(self._known) >= _MOST_CLOCKS:
                self._known.clear()
            source, _, exchange = clock.partition("/")
            found = self._known[clock] = self._find(source, exchange)
            return found


def place_of(hours: Hours | None, tick: Tick) -> tuple[str, int | None]:
    """In which session a tick counts, and on which date; None: between two dates, in no candle of a day."""
    if hours is None:
        return REGULAR, tick.event_time - tick.event_time % DAY_MS
    session, day_ms, is_claimed = hours.place(tick.event_time)
    return (EXTENDED if is_claimed and tick.market_hours != REGULAR_MARKET else session), day_ms


def places_of(hours: Hours, columns: Columns, chosen: Ints) -> tuple[Ints, Ints]:
    """The same of the ticks at ``chosen``: places in `SESSIONS`, and labels or `NO_DATE`."""
    session, day_ms, is_claimed = hours.places(columns.event_time[chosen])
    for at in np.flatnonzero(is_claimed).tolist():
        if columns.tick(int(chosen[at])).market_hours != REGULAR_MARKET:
            session[at] = SESSIONS.index(EXTENDED)
    return session, day_ms


def window_of(hours: Hours | None, interval: str, session: str, at_ms: int) -> int:
    """Start of the window that holds ``at_ms``; of days that of the first date whose session is not over yet."""
    if interval != DAILY or hours is None:
        return window_start(interval, at_ms)
    return hours.day_ending_after(session, at_ms)


def bounds_of(hours: Hours | None, at: Address) -> Bounds:
    """The real bounds of a window: what it holds, and when it can close."""
    interval, (_, session), start = at
    if interval == DAILY and hours is not None:
        return hours.bounds(session, start)
    return _utc_bounds(interval, start)


def is_dated(hours: Hours | None, at: Address) -> bool:
    """Whether a window is of a trading date; not, where it begins between two."""
    return hours is None or at[0] == DAILY or hours.place(at[2]).day_ms is not None


def date_of(hours: Hours | None, at: Address) -> tuple[int, int]:
    """From when to when the session of the date is that holds a window; between two dates, the window alone."""
    interval, (_, session), start = at
    if hours is None:
        day = start - start % DAY_MS
        return day, day + DAY_MS
    day_ms = start if interval == DAILY else hours.place(start).day_ms
    if day_ms is None:
        return start, window_end(interval, start)
    bounds = hours.bounds(session, day_ms)
    return bounds.opens_ms, bounds.ends_ms


def windows_before(hours: Hours | None, at: Address) -> Iterator[int]:
    """Starts of the windows before one in which its session is open at some moment, the nearest first, without end."""
    interval, (_, session), start = at
    if hours is None:
        return count(start - INTERVALS_MS[interval], -INTERVALS_MS[interval])
    return _dates_before(hours, at) if interval == DAILY else _open_windows(hours, session, interval, start)


def _dates_before(hours: Hours, at: Address) -> Iterator[int]:
    _, (_, session), label = at
    while (found := hours.open_before(session, hours.bounds(session, label).opens_ms)) is not None:
        day_ms = hours.place(found[0]).day_ms
        if day_ms is None:
            return
        label = day_ms
        yield label


def _open_windows(hours: Hours, session: str, interval: str, start: int) -> Iterator[int]:
    length_ms = INTERVALS_MS[interval]
    start -= length_ms
    while (found := hours.open_before(session, start + length_ms)) is not None:
        opens, closes = found
        start = min(start, window_start(interval, closes - 1))
        while start + length_ms > opens:
            yield start
            start -= length_ms


@lru_cache(20_000)
def _utc_bounds(interval: str, start: int) -> Bounds:
    end = window_end(interval, start)
    return Bounds(start, end, end)
