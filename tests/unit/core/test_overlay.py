from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.calendars import calendars_in, hours_of
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.overlay import fill_previous, overlay
from stockstream.models import Candle

START = 1_700_000_040_000


def candle(window: int = 0, version: int = 1, *, interval: str = "1m", price: float = 10.0, **other: object) -> Candle:
    step = INTERVALS_MS[interval]
    start = START - START % step + window * step
    whole = Candle(
        "BTC-USD", interval, "regular", start, start + step, price, price + 2, price - 2, price + 1,
        5.0, price, 3, True, version, start, start + step, state="closed",
    )  # fmt: skip
    return replace(whole, **other)  # type: ignore[arg-type]


states = st.lists(st.builds(candle, st.integers(0, 8), st.integers(0, 5), price=st.floats(5, 50)), max_size=20)
one_a_window = st.sets(st.integers(0, 60), max_size=12).map(
    lambda windows: [candle(window, 7, price=10.0 + window) for window in sorted(windows)]
)


@given(stored=states, live=states)
def test_of_each_window_the_greatest_version_of_both_sides_remains(stored: list[Candle], live: list[Candle]) -> None:
    merged = overlay(stored, live)
    greatest: dict[int, int] = {}
    for each in stored + live:
        greatest[each.window_start] = max(greatest.get(each.window_start, 0), each.version)
    assert [(each.window_start, each.version) for each in merged] == sorted(greatest.items())
    assert all(each in stored + live for each in merged)


@given(stored=states, live=states)
def test_sides_can_be_swapped_and_a_result_overlaid_again(stored: list[Candle], live: list[Candle]) -> None:
    merged = overlay(stored, live)
    assert [each.version for each in overlay(live, stored)] == [each.version for each in merged]
    assert overlay(merged, live) == merged
    assert overlay(stored, merged) == merged


def test_a_stored_amendment_beats_an_older_live_state() -> None:
    amended = candle(0, version=9, close=99.0, state="amended")
    assert overlay([amended], [candle(0, version=8)]) == [amended]


def test_candles_of_other_series_are_not_mixed_up() -> None:
    regular, extended = candle(0, 1), candle(0, 2, session="extended")
    assert len(overlay([regular], [extended])) == 2


@given(candles=one_a_window, limit=st.integers(1, 80))
def test_filling_gives_the_last_windows_without_a_hole(candles: list[Candle], limit: int) -> None:
    filled = fill_previous(candles, limit)
    if not candles:
        assert filled == []
        return
    span = (candles[-1].window_start - candles[0].window_start) // 60_000 + 1
    assert len(filled) == min(limit, span)
    assert all(after.window_start - before.window_start == 60_000 for before, after in pairwise(filled))
    assert filled[-1] == candles[-1]


@given(candles=one_a_window)
def test_filling_keeps_real_candles_and_repeats_the_close_before_a_hole(candles: list[Candle]) -> None:
    real = {each.window_start: each for each in candles}
    close = 0.0
    for each in fill_previous(candles, 10_000):
        if each.window_start in real:
            assert each == real[each.window_start]
        else:
            assert (each.open, each.high, each.low, each.close) == (close,) * 4
            assert (each.volume, each.trades, each.vwap, each.version) == (0.0, 0, None, 0)
            assert each.window_end == each.window_start + 60_000
        close = each.close


@pytest.mark.parametrize("interval", list(INTERVALS_MS))
def test_filling_steps_by_the_interval(interval: str) -> None:
    filled = fill_previous([candle(0, interval=interval), candle(3, interval=interval)], 100)
    assert [each.window_start for each in filled] == [candle(n, interval=interval).window_start for n in range(4)]


def test_a_filled_window_is_closed_only_where_the_next_candle_is() -> None:
    forming = candle(4, is_closed=False, state="forming")
    filled = fill_previous([candle(0), candle(2), forming], 100)
    assert [(each.is_closed, each.state) for each in filled] == [
        (True, "closed"),
        (True, "closed"),
        (True, "closed"),
        (False, "forming"),
        (False, "forming"),
    ]


def test_a_gap_of_years_costs_no_more_than_what_is_asked_for() -> None:
    filled = fill_previous([candle(0), candle(10_000_000_000)], 3)
    assert [each.trades for each in filled] == [0, 0, 3]


NEW_YORK = hours_of(calendars_in(None).get("XNYS"))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def of_share(interval: str, session: str, *starts: str) -> list[Candle]:
    return [
        replace(candle(interval=interval), symbol="AAPL", session=session, window_start=at(start)) for start in starts
    ]


@pytest.mark.parametrize(
    ("interval", "session", "before", "after", "filled"),
    [
        # Thanksgiving is the Thursday, and the Friday after it ends at 13:00 in New York.
        ("1d", "regular", "2026-11-24", "2026-12-01", ["2026-11-25", "2026-11-27", "2026-11-30"]),
        ("1d", "extended", "2026-11-25", "2026-11-30", ["2026-11-27"]),
        ("1m", "regular", "2026-11-25T20:58", "2026-11-27T14:32", [
            "2026-11-25T20:59", "2026-11-27T14:30", "2026-11-27T14:31",
        ]),
        ("5m", "regular", "2026-11-27T17:50", "2026-11-30T14:35", ["2026-11-27T17:55", "2026-11-30T14:30"]),
        ("1m", "extended", "2026-11-25T14:28", "2026-11-25T21:02", [
            "2026-11-25T14:29", "2026-11-25T21:00", "2026-11-25T21:01",
        ]),
        ("5m", "extended", "2026-11-27T21:50", "2026-11-30T09:05", ["2026-11-27T21:55", "2026-11-30T09:00"]),
        # A stray print in the night: nothing beside it is filled in.
        ("1m", "extended", "2026-11-28T03:00", "2026-11-30T09:01", ["2026-11-30T09:00"]),
    ],
)  # fmt: skip
def test_where_hours_are_known_closed_windows_are_not_filled(
    interval: str, session: str, before: str, after: str, filled: list[str]
) -> None:
    found = fill_previous(of_share(interval, session, before, after), 10_000, NEW_YORK)
    assert [each.window_start for each in found] == [at(start) for start in (before, *filled, after)]
    assert [each.version for each in found[1:-1]] == [0] * len(filled)
    assert len(fill_previous(of_share(interval, session, before, after), 2, NEW_YORK)) == 2


def test_a_day_that_is_filled_has_the_bounds_of_its_session() -> None:
    _, friday, _ = fill_previous(of_share("1d", "regular", "2026-11-25", "2026-11-30"), 10, NEW_YORK)
    assert (friday.session_open, friday.session_close) == (at("2026-11-27T14:30"), at("2026-11-27T18:00"))
    assert friday.window_end == at("2026-11-28")


def test_exchanges_without_extended_hours_have_none_to_fill() -> None:
    hong_kong = hours_of(calendars_in(None).get("XHKG"))
    breaks = fill_previous(of_share("1m", "extended", "2026-11-25T04:10", "2026-11-25T04:20"), 100, hong_kong)
    assert len(breaks) == 2
    lunch = fill_previous(of_share("1m", "regular", "2026-11-25T03:58", "2026-11-25T05:01"), 100, hong_kong)
    assert [each.window_start for each in lunch[1:-1]] == [at("2026-11-25T03:59"), at("2026-11-25T05:00")]
