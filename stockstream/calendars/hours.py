"""A calendar as the candle engine asks it: in which session, and on which trading date, a tick counts."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache

import numpy as np

from stockstream.calendars.calendar import END_MS, SPAN_MS, Calendar
from stockstream.calendars.definition import EXTENDED_HOURS, LAST_PRINTS, TRADED
from stockstream.calendars.session import SESSION_OF_PHASE, Session
from stockstream.core.columns import Bools, Ints
from stockstream.core.interval import DAY_MS, EXTENDED, REGULAR, SESSIONS
from stockstream.core.trading import NO_DATE, Bounds, Place

_EPOCH = date(1970, 1, 1)
_DAYS_LOOKED_AT = 30
_OUTSIDE = Place(EXTENDED, None)

_Places = tuple[Ints, Ints, Ints, Bools]


class ExchangeHours:
    """The `stockstream.core.trading.Hours` of a calendar."""

    def __init__(self, calendar: Calendar) -> None:
        self._is_extended = calendar.definition.extended is not None
        self._open = {
            REGULAR: TRADED,
            EXTENDED: frozenset((EXTENDED_HOURS, LAST_PRINTS) if self._is_extended else ()),
        }
        self._calendar = calendar
        self._tables: dict[int, _Places] = {}
        self.bounds = lru_cache(4096)(self._bounds)

    def place(self, at_ms: int) -> Place:
        """Where a tick of that time counts."""
        day, phase = self._calendar.state(at_ms)
        return _OUTSIDE if day is None else _place(day, phase, self._is_extended)

    def places(self, at_ms: Ints) -> tuple[Ints, Ints, Bools]:
        """The same of many."""
        session, day_ms = np.empty(len(at_ms), np.int64), np.empty(len(at_ms), np.int64)
        is_claimed = np.empty(len(at_ms), np.bool_)
        spans = at_ms // SPAN_MS
        for span in np.unique(spans).tolist():
            chosen = spans == span
            times, sessions, days, claimed = self._table(span)
            found = np.searchsorted(times, at_ms[chosen], side="right") - 1
            session[chosen], day_ms[chosen], is_claimed[chosen] = sessions[found], days[found], claimed[found]
        return session, day_ms, is_claimed

    def day_ending_after(self, session: str, at_ms: int) -> int:
        """The first trading date whose session ends after ``at_ms``."""
        today = _date(at_ms)
        if at_ms >= END_MS:
            return _label(today)
        for more in range(-1, _DAYS_LOOKED_AT):
            found = self._calendar.session(today + timedelta(more))
            if found is not None and _bounds_of(found, session).ends_ms > at_ms:
                return _label(found.day)
        return _label(today)

    def open_before(self, session: str, at_ms: int) -> tuple[int, int] | None:
        """A stretch in which a session is open, of those that begin before ``at_ms`` the last; None: none for a month.

        What goes on without a pause may be told in pieces. In the minute of last prints the regular session is over,
        and extended hours, where there are any, have begun.
        """
        phases = self._open[session]
        if at_ms < END_MS:
            for span in (at_ms // SPAN_MS, at_ms // SPAN_MS - 1):
                times, states = self._calendar.edges(span)
                for index in range(bisect_left(times, at_ms) - 1, 0, -1):
                    if states[index][1] in phases:
                        return times[index], times[index + 1]
        return None

    def _bounds(self, session: str, day_ms: int) -> Bounds:
        """Those of a date's session; of what is no trading date the day in UTC."""
        found = None if day_ms >= END_MS else self._calendar.session(_date(day_ms))
        return Bounds(day_ms, day_ms + DAY_MS, day_ms + DAY_MS) if found is None else _bounds_of(found, session)

    def _table(self, span: int) -> _Places:
        table = self._tables.get(span)
        if table is None:
            times, states = self._calendar.edges(span)
            places = [_OUTSIDE if day is None else _place(day, phase, self._is_extended) for day, phase in states]
            table = self._tables[span] = (
                np.array(times, np.int64),
                np.array([SESSIONS.index(place.session) for place in places], np.int64),
                np.array([NO_DATE if place.day_ms is None else place.day_ms for place in places], np.int64),
                np.array([place.is_claimed for place in places], np.bool_),
            )
        return table


@cache
def hours_of(calendar: Calendar | None) -> ExchangeHours | None:
    """The hours of a calendar, always the same object; None for days in UTC around the clock, or unknown ones."""
    return None if calendar is None or calendar.is_always_open else ExchangeHours(calendar)


def _place(day: date, phase: str | None, is_extended: bool) -> Place:
    session = SESSION_OF_PHASE.get(phase or "", EXTENDED)
    return Place(session, _label(day), is_extended and phase == LAST_PRINTS)


def _bounds_of(found: Session, session: str) -> Bounds:
    if session == REGULAR:
        return Bounds(found.open_ms, found.close_ms, found.regular_end_ms)
    return Bounds(found.start_ms, found.end_ms, found.end_ms)


def _date(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


@lru_cache(4096)
def _label(day: date) -> int:
    return (day - _EPOCH).days * DAY_MS
