"""A folder of a user's own files over ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from stockstream.calendars import Calendar, Calendars, calendars_in
from stockstream.errors import InvalidCalendar

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "XNYS.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path

    return write


def calendar(folder: Path, code: str) -> Calendar:
    calendars = Calendars(folder)
    calendars.check()
    found = calendars.get(code)
    assert found is not None
    return found


def refused(folder: Path) -> str:
    with pytest.raises(InvalidCalendar) as error:
        Calendars(folder).check()
    assert "\n" not in str(error.value)
    return str(error.value)


def closes(found: Calendar, day: str) -> str | None:
    session = found.session(date.fromisoformat(day))
    return None if session is None else datetime.fromtimestamp(session.close_ms / 1000, UTC).strftime("%H:%M")


def test_a_holiday_is_added_and_the_others_stay(write: Write) -> None:
    found = calendar(write('[holidays]\n2026-12-01 = "Day of Mourning"\n'), "XNYS")
    assert (closes(found, "2026-12-01"), closes(found, "2026-11-26"), closes(found, "2026-12-02")) == (
        None,
        None,
        "21:00",
    )
    holiday = found.holiday(date(2026, 12, 1))
    assert holiday is not None
    assert holiday.name == "Day of Mourning"


def test_one_dates_close_is_changed(write: Write) -> None:
    found = calendar(write('[sessions]\n2026-11-27 = { close = "12:00" }\n2026-11-30 = { close = "14:00" }\n'), "XNYS")
    assert (closes(found, "2026-11-27"), closes(found, "2026-11-30"), closes(found, "2026-12-24")) == (
        "17:00", "19:00", "18:00",
    )  # fmt: skip


def test_a_holiday_becomes_a_session_and_the_other_way_round(write: Write) -> None:
    holidays = '[holidays]\n2026-11-27 = "closed after all"\n2026-12-25 = false\n'
    found = calendar(write(holidays + '[sessions]\n2026-11-26 = { close = "13:00" }\n'), "XNYS")
    assert (closes(found, "2026-11-26"), closes(found, "2026-11-27"), closes(found, "2026-12-25")) == (
        "18:00",
        None,
        "21:00",
    )


def test_a_holiday_of_vietnam_is_one_of_all_its_exchanges(write: Write) -> None:
    folder = write('last = 2027-12-31\n[holidays]\n2027-02-05 = false\n2027-02-11 = "Tet"\n', "HOSE.toml")
    for code in ("HOSE", "HNX", "UPCOM", "VNDERIV"):
        found = calendar(folder, code)
        assert closes(found, "2027-02-05") is not None
        assert closes(found, "2027-02-11") is None
        assert found.is_known(date(2027, 2, 12))


def test_a_calendar_that_is_as_another_is_can_be_amended_by_itself(write: Write) -> None:
    write('[holidays]\n2026-12-02 = "both"\n')
    folder = write('[holidays]\n2026-12-01 = "Nasdaq alone"\n', "XNAS.toml")
    assert closes(calendar(folder, "XNYS"), "2026-12-01") == "21:00"
    nasdaq = Calendars(folder).of_exchange("yahoo", "NMS")
    assert nasdaq is not None
    assert (nasdaq.code, closes(nasdaq, "2026-12-01"), closes(nasdaq, "2026-12-02")) == ("XNAS", None, None)
    assert closes(nasdaq, "2026-11-27") == "18:00"


def test_a_session_on_a_saturday(write: Write) -> None:
    found = calendar(write('[sessions]\n2026-11-28 = { open = "10:00", close = "12:00" }\n'), "XNYS")
    assert closes(found, "2026-11-28") == "17:00"


def test_a_calendar_of_ones_own_with_its_exchange(write: Write) -> None:
    write(
        'name = "Mine"\nzone = "Asia/Dubai"\n[[hours]]\nweekdays = "Mon-Fri"\nopen = "10:00"\nclose = "15:00"\n',
        "XDFM.toml",
    )
    folder = write('[yahoo.suffixes]\nAE = "XDFM"\n', "exchanges.toml")
    assert closes(calendar(folder, "XDFM"), "2026-11-27") == "11:00"
    found = Calendars(folder).of_suffix("yahoo", "AE")
    assert found is not None
    assert found.code == "XDFM"
    assert Calendars(folder).of_suffix("yahoo", "VN") is not None


def test_a_file_with_hours_and_zone_takes_the_place_of_ours(write: Write) -> None:
    found = calendar(write('name = "N"\nzone = "UTC"\n[[hours]]\nopen = "09:00"\nclose = "10:00"\n'), "XNYS")
    assert closes(found, "2026-11-26") == "10:00"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[holidays\n", "XNYS.toml is no TOML: Expected ']' at the end of a table declaration (at line 1"),
        ("holidays = " + "[" * 3000, "XNYS.toml is no TOML: maximum recursion depth exceeded"),
        ('[holidays]\n"26 Nov" = "x"\n', "line 2, 26 Nov: is no date: write 2026-12-24"),
        ("[holidays]\n2026-12-01 = 5\n", "line 2, 2026-12-01: must be \"a name\", { name = "),
        ('[holidays]\n2026-12-01 = { nam = "x" }\n', "nam: is none of estimated, name"),
        ('[sessions]\n2026-12-01 = { close = "1pm" }\n', "line 2, 2026-12-01: '1pm' is no time: write \"09:30\""),
        ('[sessions]\n2026-12-01 = { close = "09:00" }\n', "line 2, 2026-12-01: must end after it begins"),
        ('[sessions]\n2026-12-05 = { close = "13:00" }\n', "2026-12-05: has no usual hours: give open and close"),
        ('[sessions]\n2026-12-01 = { open = "17:00 the day before" }\n', "begins before 2026-11-30 has ended"),
        ('[[phases]]\nname = "x"\nkind = "put-through"\nfrom = "04:00 the day before"\nto = "03:00"\n', "has ended"),
        ('[holiday]\n2026-12-01 = "x"\n', "line 1, holiday: is none of extended, first, holidays"),
        ('zone = "Mars/Olympus"\n', "line 1, zone: 'Mars/Olympus' is no time zone"),
        ('last = "2027-12-31"\n', "line 1, last: must be a date: write 2026-12-24, without quotes"),
        ('[[hours]]\nopen = "09:30"\n', "hours: close is missing"),
        ('[[hours]]\nweekdays = "Mo-Fr"\nopen = "09:30"\nclose = "16:00"\n', "line 2, weekdays: 'Mo-Fr' must be like"),
        ('[[phases]]\nname = "x"\nkind = "pause"\nfrom = "12:00"\nto = "13:00"\n', "line 3, kind: 'pause' is none"),
        ('[sessions]\n2026-12-01 = { break = "noon" }\n', 'break must be like "11:30-12:30"'),
        ("hours = 5\n", "line 1, hours: must be a list"),
        ("holidays = 5\n", "line 1, holidays: must be a table of dates"),
        ('holidays_of = "NOWHERE"\n', "line 1, holidays_of: there is no other calendar 'NOWHERE'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_its_place_and_what_to_write(write: Write, text: str, told: str) -> None:
    message = refused(write(text))
    assert told in message
    assert "XNYS.toml" in message


def test_a_file_that_amends_nothing_says_what_it_lacks(write: Write) -> None:
    assert "name is missing, and there is no XNYSE that it could amend" in refused(write("[holidays]\n", "XNYSE.toml"))


def test_an_exchange_without_a_calendar_is_told(write: Write) -> None:
    assert "[yahoo] NMS: there is no calendar XNAZ" in refused(
        write('[yahoo.exchanges]\nNMS = "XNAZ"\n', "exchanges.toml")
    )
    assert "must be a table like" in refused(write("[yahoo.exchanges]\nNMS = 5\n", "exchanges.toml"))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidCalendar, match="is no folder: make it"):
        calendars_in(tmp_path / "nowhere")


def test_what_is_wrong_is_found_in_a_file_that_is_nearly_all_blanks(tmp_path: Path) -> None:
    (tmp_path / "XNYS.toml").write_text("\n" * 200_000 + " " * 200_000 + "\n  nonsense = 1\n")
    with pytest.raises(InvalidCalendar, match="line 200002, nonsense"):
        calendars_in(tmp_path)
