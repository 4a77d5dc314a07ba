"""The calendar files beside the library that they are made of, session by session."""

from __future__ import annotations

import os
import warnings
from datetime import date
from typing import Any

import pytest

from stockstream.calendars import Calendar, calendars_in

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library's, about pandas to come
    import exchange_calendars

ALL = calendars_in(None)
MADE = [code for code in ALL.codes() if any("exchange_calendars" in each for each in ALL.get(code).definition.sources)]  # type: ignore[union-attr]
SINCE = date(2015 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 2022, 1, 1)
"""The library takes its time: some seconds for Seoul's last years, ten for all of them."""
LAST = max(last for code in MADE if (last := ALL.get(code).last))  # type: ignore[union-attr]


def known(calendar: Calendar) -> dict[date, tuple[int, ...]]:
    """Open, close and breaks by trading date, without what we add."""
    assert calendar.first == date(2015, 1, 1)
    assert calendar.last is not None
    return {
        each.day: (each.open_ms, each.close_ms, *(
            ms for part in each.breaks if part.name == "break" for ms in (part.start_ms, part.end_ms)
        ))
        for each in calendar.sessions(SINCE, calendar.last)
    }  # fmt: skip


def of_library(library: Any) -> dict[date, tuple[int, ...]]:
    return {
        label.date(): tuple(
            round(moment.timestamp() * 1000) for moment in (row[0], row[3], *row[1:3]) if moment == moment
        )
        for label, row in zip(library.schedule.index, library.schedule.itertuples(index=False), strict=True)
    }


def test_a_dozen_calendars_are_made_of_the_library() -> None:
    assert len(MADE) == 12


@pytest.mark.parametrize("code", MADE)
@pytest.mark.filterwarnings("ignore")
def test_a_file_says_what_the_library_says(code: str) -> None:
    calendar = ALL.get(code)
    assert calendar is not None
    assert calendar.last is not None
    library = exchange_calendars.get_calendar(code, start=SINCE.isoformat(), end=calendar.last.isoformat())
    ours, theirs = known(calendar), of_library(library)
    differ = sorted(day for day in ours.keys() | theirs.keys() if ours.get(day) != theirs.get(day))
    remedy = "run `make calendars`, look at what it changes, and commit it"
    assert not differ, f"{code} differs from exchange_calendars on {len(differ)} dates, first {differ[0]}: {remedy}"
    bound = type(library).bound_max()
    last = LAST if bound is None else min(LAST, bound.date())
    assert calendar.last == last, (
        f"{code} ends on {calendar.last}, and exchange_calendars knows it until {last}: {remedy}"
    )
