"""Make the calendar files of exchange_calendars: ``make calendars``.

A file holds what is usual, and by date what differs, from `FIRST` to `LAST`, or to where the library's knowledge ends.
It knows a year ahead: raise `LAST` each year. What it does not tell, as auctions and extended hours, is in files beside
this one, which go in as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars

FIRST, LAST = date(2015, 1, 1), date(2027, 12, 31)
NAMES = {
    "CMES": "CME Globex",
    "XASX": "Australian Securities Exchange, Sydney",
    "XBKK": "Stock Exchange of Thailand, Bangkok",
    "XETR": "Xetra, Frankfurt",
    "XHKG": "Hong Kong Stock Exchange",
    "XKRX": "Korea Exchange, Seoul",
    "XLON": "London Stock Exchange",
    "XNYS": "New York Stock Exchange and Nasdaq",
    "XSES": "Singapore Exchange",
    "XSHG": "Shanghai Stock Exchange",
    "XTKS": "Tokyo Stock Exchange",
    "XTSE": "Toronto Stock Exchange",
}

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "stockstream" / "calendars" / "data"


@dataclass(frozen=True)
class Hours:
    """Local times of one session, in minutes from midnight of its date."""

    open: int
    close: int
    lunch: tuple[int, int] | None


def main() -> None:
    """Write every file."""
    for code, name in NAMES.items():
        file = DATA / f"{code}.toml"
        file.write_text("\n".join(lines(code, name)) + "\n", encoding="utf-8")
        print(f"{file.name}: {file.stat().st_size:,} bytes")


def lines(code: str, name: str) -> Iterator[str]:
    """The lines of a calendar's file."""
    bound = type(exchange_calendars.get_calendar(code)).bound_max()
    last = LAST if bound is None else min(LAST, bound.date())
    library = exchange_calendars.get_calendar(code, start=FIRST.isoformat(), end=last.isoformat())
    sessions = {label.date(): local_hours(library, label) for label in library.sessions}
    yield "# Made by `make calendars`; what is written here by hand is overwritten. See docs/calendars.md."
    yield f"name = {json.dumps(name)}"
    yield f'zone = "{library.tz.key}"'
    yield f"first = {FIRST}"
    yield f"last = {last}"
    yield f'sources = ["exchange_calendars {exchange_calendars.__version__}"]'
    usual = usual_hours(library, sessions)
    for since, hours in usual.items():
        yield "\n[[hours]]"
        if since != FIRST:
            yield f"since = {since}"
        yield from (f"{key} = {value}" for key, value in told(hours).items())
    added = HERE / f"{code}.toml"
    if added.exists():
        yield f"\n{added.read_text(encoding='utf-8').rstrip()}"
    yield "\n[holidays]"
    yield from (f"{day} = {json.dumps(why)}" for day, why in holidays(library, sessions, last))
    yield "\n[sessions]"
    for day, hours in sessions.items():
        differs = told(hours, usual[max(since for since in usual if since <= day)])
        if differs:
            yield f"{day} = {{ {', '.join(f'{key} = {value}' for key, value in differs.items())} }}"


def local_hours(library: Any, label: Any) -> Hours:
    """One session's hours."""

    def minute(moment: Any) -> int:
        there = moment.tz_convert(library.tz)
        return (there.date() - label.date()).days * 1440 + there.hour * 60 + there.minute

    lunch = library.session_break_start(label), library.session_break_end(label)
    bounds = minute(library.session_open(label)), minute(library.session_close(label))
    return Hours(*bounds, None if lunch[0] is not lunch[0] or str(lunch[0]) == "NaT" else tuple(map(minute, lunch)))


def usual_hours(library: Any, sessions: dict[date, Hours]) -> dict[date, Hours]:
    """The hours of most sessions from each date on at which the library has other ones."""
    changes = (library.open_times, library.close_times, library.break_start_times or (), library.break_end_times or ())
    dates = sorted({FIRST, *(since.date() for each in changes for since, _ in each if since and since.date() > FIRST)})
    return {
        since: Counter(hours for day, hours in sessions.items() if since <= day < until).most_common(1)[0][0]
        for since, until in zip(dates, [*dates[1:], date.max], strict=True)
    }


def holidays(library: Any, sessions: dict[date, Hours], last: date) -> Iterator[tuple[date, str]]:
    """The weekdays without a session, with the library's name for them where it has one."""
    named = {}
    if library.regular_holidays is not None:
        found = library.regular_holidays.holidays(FIRST.isoformat(), last.isoformat(), return_name=True)
        named = {label.date(): str(name) for label, name in found.items()}
    day = FIRST
    while day <= last:
        if day.weekday() < 5 and day not in sessions:
            yield day, named.get(day, "holiday")
        day += timedelta(1)


def told(hours: Hours, usual: Hours | None = None) -> dict[str, str]:
    """What a file says of hours where they differ from the usual ones; a close before the lunch's end has none."""
    lunch = hours.lunch
    if usual is not None and usual.lunch is not None and hours.close <= usual.lunch[1]:
        lunch = usual.lunch
    said = {}
    if usual is None or hours.open != usual.open:
        said["open"] = time_text(hours.open)
    if usual is None or hours.close != usual.close:
        said["close"] = time_text(hours.close)
    if lunch != (usual.lunch if usual else None):
        said["break"] = json.dumps("-".join(time_text(minute).strip('"') for minute in lunch) if lunch else "")
    return said


def time_text(minute: int) -> str:
    """``"09:30"``; of the day before if it is negative."""
    before = " the day before" if minute < 0 else ""
    return f'"{minute % 1440 // 60:02}:{minute % 60:02}{before}"'


if __name__ == "__main__":
    main()
