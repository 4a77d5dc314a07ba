"""A calendar as the candle engine and the filling of candles ask it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from stockstream.calendars import calendars_in, hours_of
from stockstream.calendars.definition import AUCTION, BREAK, EXTENDED_HOURS, FIXED_PRICE
from stockstream.calendars.hours import ExchangeHours
from stockstream.calendars.session import Session
from stockstream.core.engine import Engine
from stockstream.core.interval import MINUTE_MS, SESSIONS
from stockstream.core.rows import Rows
from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy
from stockstream.models import Tick, Verdict
from stockstream.models.tick import KINDS

CODES = ["XNYS", "XHKG", "XASX", "CMES", "HOSE", "24/5"]


def hours(code: str) -> ExchangeHours:
    found = hours_of(calendars_in(None).get(code))
    assert found is not None
    return found


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("session", SESSIONS)
def test_stretches_are_those_in_which_a_session_is_open(code: str, session: str) -> None:
    """Minute by minute over two weeks: those in which something is traded, without the one of last prints."""
    asked, calendar = hours(code), calendars_in(None).get(code)
    assert calendar is not None
    found: list[int] = []
    reached = at("2026-03-16")
    while (stretch := asked.open_before(session, reached)) is not None and stretch[1] > at("2026-03-02"):
        assert stretch[0] < reached
        found += range(stretch[0], stretch[1], MINUTE_MS)
        reached = stretch[0]
    within = range(at("2026-03-02"), at("2026-03-16"), MINUTE_MS)
    traded = {minute for day in calendar.sessions(date(2026, 3, 1), date(2026, 3, 17)) for minute in of(day, session)}
    assert {minute for minute in found if minute in within} == {minute for minute in within if minute in traded}
    assert len(found) == len(set(found))


def of(day: Session, session: str) -> set[int]:
    """The minutes of a trading date in which a session is open."""

    def in_parts(*kinds: str) -> set[int]:
        parts = [part for part in day.parts if part.kind in kinds]
        return {minute for part in parts for minute in range(part.start_ms, part.end_ms, MINUTE_MS)}

    regular = set(range(day.open_ms, day.close_ms, MINUTE_MS)) | in_parts(AUCTION, FIXED_PRICE)
    return regular - in_parts(BREAK) if session == "regular" else in_parts(EXTENDED_HOURS) - regular


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("when", "verdict"),
    [
        ("9999-12-31T23:59:59", Verdict.BAD_TIME),
        ("9998-12-01T12:00:00", Verdict.BAD_TIME),
        ("9997-12-31T12:00:00", Verdict.ACCEPTED),
        ("1970-01-01T00:00:01", Verdict.ACCEPTED),
    ],
)
def test_no_time_that_a_record_may_have_is_too_far_away(code: str, kind: str, when: str, verdict: Verdict) -> None:
    asked = hours(code)
    engine = Engine(Rows(Trading(lambda source, exchange: asked, lambda symbol: asked)), Policy())
    tick = Tick("A", at(when), 1.0, day_volume=5, kind=kind, until=at(when) + 5)  # type: ignore[arg-type]
    applied = engine.apply(0, [(0, tick)], 0)
    assert applied.batch.verdict(0) is verdict
    candles = engine.publish(applied.touched)
    assert {candle.symbol for candle in candles} <= {"A"}
    for session in SESSIONS:
        stretch = asked.open_before(session, at(when))
        assert stretch is None or stretch[0] < at(when)
