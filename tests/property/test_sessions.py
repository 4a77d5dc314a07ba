"""Sessions and trading dates: the same ticks give the same candles by real calendars, and those of the reference."""

from __future__ import annotations

from datetime import date
from functools import cache

import pytest
from crashing import CLOSED_BIT, Host, assert_same, in_batches, log_of, run_through, run_with_crashes, unversioned
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_as_in, reference_candles, venue_of

from stockstream.calendars import Calendar, calendars_in, hours_of
from stockstream.core.trading import Trading
from stockstream.models import Tick

MINUTE = 60_000
ALL = calendars_in(None)
SYMBOL = "AAPL"
# A switch of daylight saving time lies inside, or a half day, a weekend and a holiday.
DATES = {
    "XNYS": (date(2026, 10, 30), date(2026, 11, 3)),
    "XNAS": (date(2026, 11, 25), date(2026, 11, 30)),
    "XHKG": (date(2026, 12, 23), date(2026, 12, 28)),
    "XASX": (date(2026, 10, 2), date(2026, 10, 6)),
    "CMES": (date(2026, 3, 6), date(2026, 3, 10)),
    "HOSE": (date(2026, 2, 13), date(2026, 2, 23)),
    "24/5": (date(2026, 3, 6), date(2026, 3, 10)),
}
cuts = st.sets(st.integers(1, 30), max_size=8)


@cache
def calendar(code: str) -> Calendar:
    found = ALL.get(code)
    assert found is not None
    return found


def trading(code: str) -> Trading:
    hours = hours_of(calendar(code))
    return Trading(lambda source, exchange: hours, lambda symbol: hours)


@cache
def edges(code: str) -> list[int]:
    """When sessions, their parts and their last prints begin and end."""
    found = set()
    for session in calendar(code).sessions(*DATES[code]):
        found |= {session.start_ms, session.open_ms, session.close_ms, session.regular_end_ms, session.end_ms}
        found |= {at for part in session.parts for at in (part.start_ms, part.end_ms)}
    return sorted(found)


@st.composite
def ticks_of(draw: st.DrawFn, code: str) -> list[Tick]:
    """Trades or snapshots around the edges of sessions, with controls, in no particular order."""
    times = st.builds(
        lambda edge, after: edge + after,
        st.sampled_from(edges(code)),
        st.sampled_from([-3_600_001, -MINUTE, -1, 0, 1, MINUTE - 1, MINUTE, 7 * MINUTE, 3_600_000, 43_200_000]),
    )
    are_trades, market_hours = draw(st.booleans()), st.sampled_from([0, 1, 1, 2])
    ticks, volume = [], 0
    for number, at in enumerate(sorted(draw(st.lists(times, min_size=1, max_size=18)))):
        volume += draw(st.integers(0, 5)) * 100
        if are_trades:
            tick = Tick(SYMBOL, at, 1.0 + draw(st.integers(0, 4)), 2.0, trade_id=number)
        else:
            tick = Tick(SYMBOL, at, 1.0 + draw(st.integers(0, 4)), day_volume=volume, kind="snapshot")
        tick.market_hours = draw(market_hours)
        ticks.append(tick)
    for at in draw(st.lists(times, max_size=3)):
        kind = draw(st.sampled_from(["start", "gap", "repair"]))
        length = draw(st.sampled_from([0, 1, MINUTE, 3_600_000, 90_000_000]))
        ticks.append(Tick(SYMBOL, at, kind=kind, until=None if kind == "start" else at + length))
    return draw(st.permutations(ticks))


def host_of(code: str, log: list[tuple[int, Tick]], some: set[int], columnar: bool) -> Host:
    host = Host(columnar=columnar, trading=trading(code))
    for batch in in_batches(log, some):
        host.feed(batch)
    return host


@pytest.mark.parametrize("code", DATES)
@given(st.data(), cuts)
def test_candles_of_sessions_are_those_of_the_reference(code: str, data: st.DataObject, some: set[int]) -> None:
    log = log_of(data.draw(ticks_of(code)))
    expected = reference_candles(log, lambda symbol: venue_of(calendar(code)))
    found = host_of(code, log, some, columnar=True).candles()
    assert_as_in(expected, found)
    for (_, interval, session, start), candle in found.items():
        if interval == "1d":
            opens, closes, _ = venue_of(calendar(code)).bounds(session, start)
            assert (candle.session_open, candle.session_close) == (opens, closes)


@pytest.mark.parametrize("code", DATES)
@given(st.data(), cuts, cuts)
def test_sessions_are_the_same_in_any_order_and_any_batches(
    code: str, data: st.DataObject, some: set[int], others: set[int]
) -> None:
    ticks = [tick for tick in data.draw(ticks_of(code)) if tick.kind != "repair"]
    first = host_of(code, log_of(ticks), some, columnar=False).candles()
    mixed = data.draw(st.permutations(ticks))
    second = host_of(code, log_of(mixed), others, columnar=True).candles()
    third = host_of(code, log_of(ticks), others, columnar=True).candles()
    assert first.keys() == second.keys() == third.keys()
    for key, candle in first.items():
        assert unversioned(candle) == unversioned(second[key])
        assert candle.version & ~CLOSED_BIT == third[key].version & ~CLOSED_BIT


@pytest.mark.parametrize("code", ["XNYS", "CMES"])
@given(st.data(), cuts)
def test_crashes_change_nothing_in_sessions(code: str, data: st.DataObject, some: set[int]) -> None:
    log = log_of(data.draw(ticks_of(code)))
    disturbed = run_with_crashes(log, data, trading=trading(code))
    straight = run_through(log, some, trading=trading(code))
    assert_same(disturbed.candles(), straight.candles())
    disturbed.idle(10**13)
    straight.idle(10**13)
    assert_same(disturbed.sink, straight.sink)
    assert all(candle.is_closed for candle in disturbed.sink.values())
