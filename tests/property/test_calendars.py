"""What must hold of any calendar at any time."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from stockstream.calendars import Calendar, Session, calendars_in
from stockstream.calendars.definition import AUCTION, FIXED_PRICE
from stockstream.core.interval import EXTENDED, MINUTE_MS, REGULAR

ALL = calendars_in(None)
CODES = st.sampled_from(ALL.codes())
DAYS = st.dates(date(2014, 12, 20), date(2030, 1, 10))
ONE_DAY = timedelta(1)


def calendar(code: str) -> Calendar:
    found = ALL.get(code)
    assert found is not None
    return found


def expected(sessions: list[Session], at_ms: int) -> tuple[str | None, date | None]:
    """The answer by the sessions' bounds alone."""
    around = [each for each in sessions if each.start_ms <= at_ms < each.end_ms]
    assert len(around) <= 1
    if not around:
        return None, None
    [mine] = around
    if any(part.start_ms <= at_ms < part.end_ms for part in mine.breaks):
        return None, mine.day
    named = any(part.kind in (AUCTION, FIXED_PRICE) and part.start_ms <= at_ms < part.end_ms for part in mine.parts)
    if mine.open_ms <= at_ms < mine.close_ms or named:
        return REGULAR, mine.day
    if mine.open_ms <= at_ms < mine.regular_end_ms:
        return REGULAR, mine.day  # the last prints, although what follows the close has begun
    is_around = any(part.name.endswith("-market") and part.start_ms <= at_ms < part.end_ms for part in mine.parts)
    return (EXTENDED if is_around else None), mine.day


@given(CODES, DAYS)
@example("CMES", date(2026, 11, 1))
def test_sessions_ascend_and_do_not_overlap(code: str, first: date) -> None:
    sessions = calendar(code).sessions(first, first + 40 * ONE_DAY)
    assert sessions
    for each in sessions:
        assert each.start_ms <= each.open_ms < each.close_ms <= each.end_ms
        assert each.open_ms < each.regular_end_ms <= each.end_ms
        assert all(each.start_ms <= part.start_ms < part.end_ms <= each.end_ms for part in each.parts)
    for one, next_one in pairwise(sessions):
        assert one.day < next_one.day
        assert one.end_ms <= next_one.start_ms


@example("CMES", date(2014, 12, 20), [0])
@example("XNYS", date(2014, 12, 20), [0])
@given(CODES, DAYS, st.lists(st.integers(-36 * 60, 60 * 60), min_size=1, max_size=50))
def test_answers_agree_with_the_bounds(code: str, day: date, minutes: list[int]) -> None:
    found = calendar(code)
    sessions = found.sessions(day - 4 * ONE_DAY, day + 5 * ONE_DAY)
    midnight_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    inner = [each for each in sessions if abs(each.day - day) <= 3 * ONE_DAY]
    edges = [ms for each in inner for part in each.parts for ms in (part.start_ms, part.end_ms)]
    for at_ms in (*(midnight_ms + minute * MINUTE_MS for minute in minutes), *edges, *(ms - 1 for ms in edges)):
        assert (found.session_of(at_ms), found.trading_date(at_ms)) == expected(sessions, at_ms)


@given(CODES, DAYS, st.integers(0, 1440))
def test_a_trading_date_has_the_session_that_holds_the_time(code: str, day: date, minute: int) -> None:
    found = calendar(code)
    at_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + minute * MINUTE_MS
    trading_date = found.trading_date(at_ms)
    sessions = found.sessions(day - 2 * ONE_DAY, day + 2 * ONE_DAY)
    place = bisect_right([each.start_ms for each in sessions], at_ms) - 1
    if trading_date is None:
        assert place < 0 or sessions[place].end_ms <= at_ms
    else:
        assert found.session(trading_date) == sessions[place]


@given(CODES, DAYS)
def test_a_holiday_has_no_session(code: str, day: date) -> None:
    found = calendar(code)
    assert (found.holiday(day) is None) or (found.session(day) is None)
