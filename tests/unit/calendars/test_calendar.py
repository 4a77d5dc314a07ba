"""What calendars answer, beside what the exchanges publish."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from stockstream.calendars import Calendar, Session, calendars_in

ALL = calendars_in(None)


def calendar(code: str) -> Calendar:
    found = ALL.get(code)
    assert found is not None
    return found


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def session(code: str, day: str) -> Session:
    found = calendar(code).session(date.fromisoformat(day))
    assert found is not None
    return found


def utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("code", "day", "opens", "closes", "breaks"),
    [
        # New York changes its clocks on 8 March and 1 November 2026.
        ("XNYS", "2026-03-06", "2026-03-06T14:30", "2026-03-06T21:00", []),
        ("XNYS", "2026-03-09", "2026-03-09T13:30", "2026-03-09T20:00", []),
        ("XNYS", "2026-10-30", "2026-10-30T13:30", "2026-10-30T20:00", []),
        ("XNYS", "2026-11-02", "2026-11-02T14:30", "2026-11-02T21:00", []),
        ("XNAS", "2026-11-27", "2026-11-27T14:30", "2026-11-27T18:00", []),
        ("XTKS", "2024-11-01", "2024-11-01T00:00", "2024-11-01T06:00", ["02:30-03:30"]),
        ("XTKS", "2026-11-27", "2026-11-27T00:00", "2026-11-27T06:30", ["02:30-03:30"]),
        ("XHKG", "2026-11-27", "2026-11-27T01:30", "2026-11-27T08:00", ["04:00-05:00"]),
        ("XHKG", "2026-12-24", "2026-12-24T01:30", "2026-12-24T04:00", []),
        # Sydney is 11 hours ahead in summer, 10 in winter.
        ("XASX", "2026-11-27", "2026-11-26T23:00", "2026-11-27T05:00", []),
        ("XASX", "2026-06-10", "2026-06-10T00:00", "2026-06-10T06:00", []),
        ("CMES", "2026-11-30", "2026-11-29T23:00", "2026-11-30T23:00", ["22:00-23:00"]),
        ("CMES", "2026-07-01", "2026-06-30T22:00", "2026-07-01T22:00", ["21:00-22:00"]),
        ("XLON", "2026-07-01", "2026-07-01T07:00", "2026-07-01T15:30", []),
        ("XLON", "2026-12-24", "2026-12-24T08:00", "2026-12-24T12:30", []),
        ("XETR", "2026-07-01", "2026-07-01T07:00", "2026-07-01T15:30", []),
        ("XETR", "2026-12-30", "2026-12-30T08:00", "2026-12-30T13:00", []),
        ("HOSE", "2026-11-27", "2026-11-27T02:00", "2026-11-27T07:45", ["04:30-06:00"]),
        ("HNX", "2026-11-27", "2026-11-27T02:00", "2026-11-27T08:00", ["04:30-06:00"]),
        ("UPCOM", "2026-11-27", "2026-11-27T02:00", "2026-11-27T08:00", ["04:30-06:00"]),
        ("VNDERIV", "2026-11-27", "2026-11-27T01:45", "2026-11-27T07:45", ["04:30-06:00"]),
        ("XSHG", "2026-11-27", "2026-11-27T01:30", "2026-11-27T07:00", ["03:30-05:00"]),
        ("XKRX", "2026-11-27", "2026-11-27T00:00", "2026-11-27T06:30", []),
        ("XSES", "2026-11-27", "2026-11-27T01:00", "2026-11-27T09:00", ["04:00-05:00"]),
        ("XBKK", "2026-11-27", "2026-11-27T03:00", "2026-11-27T09:30", ["05:30-07:00"]),
        ("XTSE", "2026-11-27", "2026-11-27T14:30", "2026-11-27T21:00", []),
        ("24/7", "2026-11-28", "2026-11-28T00:00", "2026-11-29T00:00", []),
        ("24/5", "2026-11-30", "2026-11-29T22:00", "2026-11-30T22:00", []),
        ("24/5", "2026-07-03", "2026-07-02T21:00", "2026-07-03T21:00", []),
    ],
)
def test_bounds_are_those_that_the_exchange_publishes(
    code: str, day: str, opens: str, closes: str, breaks: list[str]
) -> None:
    found = session(code, day)
    assert (utc(found.open_ms), utc(found.close_ms)) == (opens, closes)
    assert [f"{utc(part.start_ms)[11:]}-{utc(part.end_ms)[11:]}" for part in found.breaks] == breaks


@pytest.mark.parametrize(
    ("code", "time", "session", "day"),
    [
        ("XNYS", "2026-11-02T08:59:59.999", None, None),
        ("XNYS", "2026-11-02T09:00", "extended", "2026-11-02"),
        ("XNYS", "2026-11-02T14:29:59.999", "extended", "2026-11-02"),
        ("XNYS", "2026-11-02T14:30", "regular", "2026-11-02"),
        ("XNYS", "2026-11-02T20:59:59.999", "regular", "2026-11-02"),
        ("XNYS", "2026-11-02T21:00:59.999", "regular", "2026-11-02"),
        ("XNYS", "2026-11-02T21:01", "extended", "2026-11-02"),
        ("XNYS", "2026-11-03T00:59", "extended", "2026-11-02"),
        ("XNYS", "2026-11-03T01:00", None, None),
        ("XNYS", "2026-11-26T15:00", None, None),
        ("XNYS", "2026-11-27T18:00:01", "regular", "2026-11-27"),
        ("XNYS", "2026-11-27T18:01", "extended", "2026-11-27"),
        ("XNYS", "2026-11-27T22:00", None, None),
        ("XNYS", "2026-11-28T15:00", None, None),
        ("XTKS", "2026-11-27T02:30", None, "2026-11-27"),
        ("XTKS", "2026-11-27T03:30", "regular", "2026-11-27"),
        ("XTKS", "2026-11-27T06:30:00.500", "regular", "2026-11-27"),
        ("XTKS", "2026-11-27T06:31", None, None),
        ("XHKG", "2026-11-27T04:30", None, "2026-11-27"),
        ("XHKG", "2026-11-27T08:08", "regular", "2026-11-27"),
        ("XASX", "2026-11-26T23:30", "regular", "2026-11-27"),
        ("XASX", "2026-11-27T05:10:15", "regular", "2026-11-27"),
        ("CMES", "2026-11-29T22:59", None, None),
        ("CMES", "2026-11-29T23:00", "regular", "2026-11-30"),
        ("CMES", "2026-11-30T22:30", None, "2026-11-30"),
        ("CMES", "2026-11-30T23:00", "regular", "2026-12-01"),
        ("CMES", "2026-12-04T21:59", "regular", "2026-12-04"),
        ("CMES", "2026-12-04T23:00", None, None),
        ("XLON", "2026-11-27T16:35:20", "regular", "2026-11-27"),
        ("XLON", "2026-11-27T16:45", None, None),
        ("XLON", "2026-12-24T12:35:20", "regular", "2026-12-24"),
        ("XLON", "2026-12-25T10:00", None, None),
        ("XETR", "2026-11-27T16:35:10", "regular", "2026-11-27"),
        ("XETR", "2026-12-24T10:00", None, None),
        ("HOSE", "2026-11-27T02:05", "regular", "2026-11-27"),
        ("HOSE", "2026-11-27T05:00", None, "2026-11-27"),
        ("HOSE", "2026-11-27T07:45:03", "regular", "2026-11-27"),
        ("HOSE", "2026-11-27T07:50", None, "2026-11-27"),
        ("HOSE", "2026-11-27T08:00", None, None),
        ("HOSE", "2026-02-17T03:00", None, None),
        ("HOSE", "2026-02-23T03:00", "regular", "2026-02-23"),
        ("HNX", "2026-11-27T07:50", "regular", "2026-11-27"),
        ("HNX", "2026-02-17T03:00", None, None),
        ("UPCOM", "2026-11-27T07:50", "regular", "2026-11-27"),
        ("VNDERIV", "2026-11-27T01:50", "regular", "2026-11-27"),
        ("24/7", "2026-11-28T23:59:59.999", "regular", "2026-11-28"),
        ("24/7", "2026-11-29T00:00", "regular", "2026-11-29"),
        ("24/5", "2026-11-27T22:30", None, None),
        ("24/5", "2026-11-28T12:00", None, None),
        ("24/5", "2026-11-29T22:30", "regular", "2026-11-30"),
    ],
)
def test_a_time_belongs_to_a_session_and_a_trading_date(
    code: str, time: str, session: str | None, day: str | None
) -> None:
    found = calendar(code)
    assert found.session_of(at(time)) == session
    assert found.trading_date(at(time)) == (date.fromisoformat(day) if day else None)


@pytest.mark.parametrize(
    ("code", "time", "is_continuous"),
    [
        ("HOSE", "2026-11-27T02:10", False),
        ("HOSE", "2026-11-27T02:15", True),
        ("HOSE", "2026-11-27T07:30", False),
        ("XTKS", "2026-11-27T06:24", True),
        ("XTKS", "2026-11-27T06:25", False),
        ("XTKS", "2024-11-01T05:59", True),
        ("XNYS", "2026-11-27T10:00", False),
        ("XNYS", "2026-11-27T15:00", True),
        ("XKRX", "2026-11-27T06:20", False),
        ("XBKK", "2024-03-22T07:15", False),
        ("XBKK", "2024-03-25T07:15", True),
    ],
)
def test_auctions_and_extended_hours_are_not_continuous(code: str, time: str, is_continuous: bool) -> None:
    assert calendar(code).is_continuous(at(time)) is is_continuous


def test_half_days_and_late_openings_are_told() -> None:
    assert (session("XNYS", "2026-11-27").closes_early, session("XNYS", "2026-11-25").closes_early) == (True, False)
    assert session("XKRX", "2026-01-02").opens_late


@pytest.mark.parametrize("code", ["HOSE", "HNX", "UPCOM", "VNDERIV"])
def test_vietnams_holidays_are_announced_until_2026_and_estimates_after(code: str) -> None:
    vietnam = calendar(code)
    year = [day for day in vietnam.definition.holidays if day.year == 2026]
    assert [f"{day:%m-%d}" for day in year] == [
        "01-01", "01-02", "02-16", "02-17", "02-18", "02-19", "02-20", "04-27", "04-30", "05-01", "08-31", "09-01",
        "09-02",
    ]  # fmt: skip
    assert vietnam.is_known(date(2026, 12, 31))
    assert not vietnam.is_known(date(2027, 1, 1))
    assert not vietnam.is_known(date(2023, 12, 31))
    for day, holiday in vietnam.definition.holidays.items():
        assert day.weekday() < 5
        assert holiday.is_estimate is (not vietnam.is_known(day))
    for year_number in range(2024, 2028):
        assert any(source.startswith(f"{year_number}: ") for source in vietnam.definition.sources)


def test_beyond_what_is_known_the_usual_hours_apply() -> None:
    found = session("XNYS", "2031-07-01")
    assert (utc(found.open_ms), utc(found.close_ms)) == ("2031-07-01T13:30", "2031-07-01T20:00")
    assert not calendar("XNYS").is_known(date(2031, 7, 1))
    assert calendar("24/7").is_known(date(2031, 7, 1))


@pytest.mark.parametrize("time_ms", [-1, -(10**18), 10**18, 253_402_300_799_999])
def test_a_time_that_cannot_be_is_outside_of_all_sessions(time_ms: int) -> None:
    assert calendar("24/7").session_of(time_ms) is None
    assert calendar("24/7").trading_date(time_ms) is None


def test_codes_of_feeds_have_calendars() -> None:
    expected = {"NMS": "XNYS", "VSE": "HOSE", "CCC": "24/7", "CCY": "24/5", "JPX": "XTKS"}
    for exchange, code in expected.items():
        found = ALL.of_exchange("yahoo", exchange)
        assert found is not None
        assert found.code == code
    assert ALL.of_exchange("yahoo", "OSA") is None
    assert ALL.of_exchange("nobody", "NMS") is None
    assert ALL.of_suffix("yahoo", "ZZ") is None
    named = ALL.named("CMX")
    assert named is not None
    assert named.code == "CMES"
    assert ALL.named("NOWHERE") is None


def test_every_name_leads_to_a_calendar() -> None:
    names = ALL.same_as()
    assert {"XNAS", "NMS", "US"} <= set(names["XNYS"])
    for code, others in names.items():
        for name in (code, *others):
            found = ALL.named(name)
            assert found is not None
            assert found.code == code
