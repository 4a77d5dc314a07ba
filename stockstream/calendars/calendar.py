"""A calendar that answers by epoch ms: which session it is, of which trading date."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from stockstream.calendars.definition import CONTINUOUS, DAY_MINUTES, Definition, Holiday
from stockstream.calendars.session import SESSION_OF_PHASE, Session, Shape, shape_of
from stockstream.core.interval import DAY_MS

_DAYS_AT_ONCE = 32
SPAN_MS = _DAYS_AT_ONCE * DAY_MS
END_MS = 253_370_000_000_000
"""In the year 9998. No calendar tells of what comes later: it looks at dates ahead, which end with the year 9999."""

_EPOCH = date(1970, 1, 1)
_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_MS = timedelta(milliseconds=1)

Edges = tuple[list[int], list[tuple[date | None, str | None]]]


class Calendar:
    """When one exchange trades, in epoch ms.

    Days are made when they are first asked about, some weeks at a time, and kept: after that an answer is a look into
    a sorted list. It never raises; times before 1970 and after the year 9997 are outside of all sessions.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.code, self.name = definition.code, definition.name
        self.first, self.last = definition.first, definition.last
        self.zone = ZoneInfo(definition.zone)
        self._shapes: dict[object, Shape] = {}
        self._edges: dict[int, Edges] = {}

    @property
    def is_always_open(self) -> bool:
        """Whether trading never rests, and its dates are the days in UTC."""
        rules = self.definition
        around_the_clock = [(each.bounds, len(each.weekdays), each.breaks) for each in rules.hours]
        return (
            rules.zone == "UTC"
            and around_the_clock == [((0, DAY_MINUTES), 7, ())]
            and not (rules.holidays or rules.specials or rules.phases or rules.extended)
        )

    def session_of(self, at_ms: int) -> str | None:
        """``regular``, ``extended``, or None outside of sessions, as in a lunch break."""
        phase = self.phase_of(at_ms)
        return None if phase is None else SESSION_OF_PHASE.get(phase)

    def phase_of(self, at_ms: int) -> str | None:
        """The kind of the part of a trading date that it is (see `definition`), None outside of all."""
        return self.state(at_ms)[1]

    def trading_date(self, at_ms: int) -> date | None:
        """The trading date that a time belongs to, breaks and put-through included; None between two dates' bounds."""
        return self.state(at_ms)[0]

    def is_continuous(self, at_ms: int) -> bool:
        """Whether the regular session trades at any moment: no break, auction or extended hours."""
        return self.phase_of(at_ms) == CONTINUOUS

    def is_known(self, day: date) -> bool:
        """Whether the holidays and special hours of a date are known; if not, the answers are what is usual."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def holiday(self, day: date) -> Holiday | None:
        """Why a date has no session that would usually have one."""
        return self.definition.holidays.get(day)

    def session(self, day: date) -> Session | None:
        """A trading date's bounds, None if there is no session on it."""
        shape = self._shape(day)
        if shape is None:
            return None
        return shape.session(day, self._clock(day))

    def sessions(self, first: date, last: date) -> list[Session]:
        """The sessions of the dates ``[first, last]``, ascending."""
        days = (first + timedelta(number) for number in range((last - first).days + 1))
        return [session for day in days if (session := self.session(day)) is not None]

    def state(self, at_ms: int) -> tuple[date | None, str | None]:
        """`trading_date` and `phase_of`."""
        if not 0 <= at_ms < END_MS:
            return _OUTSIDE
        times, states = self.edges(at_ms // SPAN_MS)
        return states[bisect_right(times, at_ms) - 1]

    def edges(self, number: int) -> Edges:
        """When states begin, and the states, in the ``number``-th `SPAN_MS` since 1970; -1 is before the first."""
        edges = self._edges.get(number)
        if edges is None:
            edges = self._edges[number] = self._make(number)
        return edges

    def _shape(self, day: date) -> Shape | None:
        rules = self.definition
        special = rules.specials.get(day)
        usual = rules.usual(day)
        if day in rules.holidays or (usual is None and special is None):
            return None
        usual = usual or rules.hours[-1]
        phases = tuple(rule for rule in rules.phases if rule.holds(day))
        key = (id(usual), id(special), phases)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = shape_of(usual, special, phases, rules.extended)
        return shape

    def _clock(self, day: date) -> Callable[[int], int]:
        """What tells when a minute of a date is, counted from its local midnight."""
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - local: the zone comes with each minute
        return lambda minute: ((midnight + minute * _MINUTE).replace(tzinfo=self.zone) - _EPOCH_TIME) // _MS

    def _make(self, number: int) -> Edges:
        """The edges of `_DAYS_AT_ONCE` days of UTC: their trading dates may begin or end a day away."""
        start = _EPOCH + timedelta(number * _DAYS_AT_ONCE - 2)
        times, states = [-1], [_OUTSIDE]
        for day in (start + timedelta(more) for more in range(_DAYS_AT_ONCE + 4)):
            shape = self._shape(day)
            if shape is None:
                continue
            to_ms = self._clock(day)
            for minute, phase in shape.edges:
                at_ms = to_ms(minute)
                if at_ms == times[-1]:
                    times.pop(), states.pop()
                times.append(at_ms)
                states.append(_OUTSIDE if (minute, phase) == shape.edges[-1] else (day, phase))
        return times, states


_OUTSIDE: tuple[date | None, str | None] = (None, None)
