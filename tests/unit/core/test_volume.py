"""Volume from a vendor's cumulative volume of the day."""

from __future__ import annotations

import pytest
from crashing import Host

from stockstream.core.row import stamp
from stockstream.models import Candle, Tick

MINUTE, DAY = 60_000, 86_400_000
OPEN = 20_000 * DAY
SYMBOL = "VCB.VN"


def seen(minute: float, cumulative: int, price: float = 1.0) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), price, day_volume=cumulative, kind="snapshot")


def start(minute: float) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), kind="start")


def gap(minute: float, until: float) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), kind="gap", until=OPEN + round(until * MINUTE))


def candles(*ticks: Tick, interval: str = "1m") -> dict[float, Candle]:
    """By minute of the day."""
    host = Host()
    for offset, tick in enumerate(ticks):
        host.feed([(stamp(0, offset), tick)])
    found = [candle for candle in host.candles().values() if candle.interval == interval]
    return {(candle.window_start - OPEN) / MINUTE: candle for candle in sorted(found, key=lambda each: each.key)}


def volumes(*ticks: Tick, interval: str = "1m") -> dict[float, float | None]:
    return {minute: candle.volume for minute, candle in candles(*ticks, interval=interval).items()}


SUBSCRIBED = start(-600)


def test_a_candle_takes_what_the_cumulative_grew_by_since_the_one_before() -> None:
    ticks = (SUBSCRIBED, seen(0, 10), seen(0.5, 15), seen(1, 40), seen(3, 100))
    assert volumes(*ticks) == {0: 15, 1: 25, 3: 60}
    assert volumes(*ticks, interval="5m") == {0: 100}


def test_the_day_has_the_latest_cumulative_not_the_sum_of_minutes() -> None:
    assert volumes(seen(0, 10), seen(1, 40), interval="1d") == {0: 40}


def test_duplicates_and_disorder_do_no_harm() -> None:
    ticks = [SUBSCRIBED, seen(3, 100), seen(0.5, 15), seen(0.5, 15), seen(1, 40), seen(0, 10), seen(3, 100)]
    assert volumes(*ticks) == {0: 15, 1: 25, 3: 60}


def test_a_late_tick_changes_the_next_volume_and_its_version() -> None:
    host = Host()
    for offset, tick in enumerate([SUBSCRIBED, seen(0, 10), seen(2, 40)]):
        host.feed([(stamp(0, offset), tick)])
    host.feed([(stamp(0, 3), seen(1, 25))])
    sent = {candle.window_start: candle for candle in host.steps[-1].sent if candle.interval == "1m"}
    assert {start: candle.volume for start, candle in sent.items()} == {OPEN + MINUTE: 15, OPEN + 2 * MINUTE: 15}
    assert sent[OPEN + 2 * MINUTE].version == stamp(0, 3)


def test_the_next_volume_is_published_over_candles_that_carry_none() -> None:
    host = Host()
    for offset, tick in enumerate([SUBSCRIBED, seen(0, 10), seen(1, -1), seen(2, 40)]):
        host.feed([(stamp(0, offset), tick)])
    host.feed([(stamp(0, 4), seen(0.5, 30))])
    sent = {candle.window_start: candle.volume for candle in host.steps[-1].sent if candle.interval == "1m"}
    assert sent == {OPEN: 30, OPEN + 2 * MINUTE: 10}


def test_a_closed_candle_whose_volume_changes_by_the_one_before_is_amended() -> None:
    host = Host()
    for offset, tick in enumerate([SUBSCRIBED, seen(0, 10), seen(1, 40)]):
        host.feed([(stamp(0, offset), tick)])
    host.idle(DAY)
    host.feed([(stamp(0, 3), seen(0.5, 30))])
    states = {
        candle.window_start: (candle.volume, candle.state) for candle in host.steps[-1].sent if candle.interval == "1m"
    }
    assert states == {OPEN: (30, "amended"), OPEN + MINUTE: (10, "amended")}


def test_without_a_cumulative_there_is_no_volume_nor_count() -> None:
    (candle,) = candles(seen(0, -1)).values()
    assert (candle.volume, candle.trades, candle.vwap) == (None, None, None)


@pytest.mark.parametrize("first", [[], [start(0.01)], [start(5)], [start(-600), start(5)]])
def test_a_cold_start_counts_from_the_first_value_and_is_partial(first: list[Tick]) -> None:
    found = candles(*first, seen(6, 500), seen(6.5, 520), seen(7, 530))
    assert {minute: (candle.volume, candle.partial) for minute, candle in found.items()} == {
        6: (20, True),
        7: (10, False),
    }
    assert candles(*first, seen(6, 500), interval="1d")[0].partial


@pytest.mark.parametrize("minute", [-600, -1, 0])
def test_subscribed_when_the_session_opened_it_counts_from_nought(minute: float) -> None:
    found = candles(start(minute), seen(6, 500))
    assert (found[6].volume, found[6].partial) == (500, False)


def test_a_new_subscription_after_the_first_value_makes_no_cold_start() -> None:
    ticks = (SUBSCRIBED, seen(0.1, 5), start(0.5), seen(0.7, 9), seen(1, 12))
    for interval, expected in (("1m", {0: 9, 1: 3}), ("5m", {0: 12}), ("1d", {0: 12})):
        assert volumes(*ticks, interval=interval) == expected
        assert not any(candle.partial for candle in candles(*ticks, interval=interval).values())


def test_a_hole_over_the_open_makes_a_cold_start() -> None:
    found = candles(SUBSCRIBED, gap(-5, 5), seen(6, 500), seen(6.5, 520))
    assert (found[6].volume, found[6].partial, found[6].gap) == (20, True, True)


def test_a_hole_after_the_open_gives_its_volume_to_the_next_candle_which_is_flagged() -> None:
    found = candles(SUBSCRIBED, gap(1, 5), seen(6, 500), seen(7, 510))
    assert (found[6].volume, found[6].partial, found[6].gap) == (500, False, True)
    assert (found[7].volume, found[7].gap) == (10, False)


def test_a_hole_between_candles_gives_its_volume_to_the_later_one_which_is_flagged() -> None:
    found = candles(SUBSCRIBED, seen(0, 10), gap(1.5, 3.5), seen(5, 100), seen(6, 101))
    assert {minute: (candle.volume, candle.gap) for minute, candle in found.items()} == {
        0: (10, False),
        5: (90, True),
        6: (1, False),
    }


def test_a_hole_that_is_told_late_raises_the_version_of_the_candle_it_flags() -> None:
    host = Host()
    for offset, tick in enumerate([SUBSCRIBED, seen(0, 10), seen(5, 100)]):
        host.feed([(stamp(0, offset), tick)])
    host.feed([(stamp(0, 9), gap(1.5, 3.5))])
    sent = {candle.window_start: candle for candle in host.steps[-1].sent if candle.interval == "1m"}
    assert sent[OPEN + 5 * MINUTE].gap
    assert sent[OPEN + 5 * MINUTE].version == stamp(0, 9)


def test_a_lower_value_from_later_is_a_correction_and_the_new_baseline() -> None:
    found = candles(SUBSCRIBED, seen(0, 100), seen(1, 80), seen(2, 95))
    assert {minute: (candle.volume, candle.corrected) for minute, candle in found.items()} == {
        0: (100, False),
        1: (0, True),
        2: (15, False),
    }


def test_a_correction_shows_although_the_candle_ends_higher() -> None:
    (_, later) = candles(SUBSCRIBED, seen(0, 100), seen(1, 80), seen(1.5, 120)).values()
    assert (later.volume, later.corrected) == (20, True)
    (only,) = candles(SUBSCRIBED, seen(0, 100), seen(0.5, 90)).values()
    assert (only.volume, only.corrected) == (90, True)


def test_a_lower_value_from_earlier_is_only_out_of_order() -> None:
    (candle,) = candles(SUBSCRIBED, seen(0.5, 100), seen(0, 80)).values()
    assert (candle.volume, candle.corrected) == (100, False)


def test_a_new_day_begins_at_nought() -> None:
    found = candles(SUBSCRIBED, seen(-1, 1_000), seen(1, 30))
    assert (found[1].volume, found[1].partial, found[1].corrected) == (30, False, False)
