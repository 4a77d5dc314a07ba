"""What subscriptions and holes say of candles of trades."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crashing import Host

from stockstream.core.row import stamp
from stockstream.models import Candle, Tick

MINUTE, DAY = 60_000, 86_400_000
OPEN = 20_000 * DAY
SYMBOL = "BINANCE:BTCUSDT"


def trade(minute: float, trade_id: int = 0) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), 10.0, 1.0, trade_id=trade_id)


def start(minute: float) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), kind="start")


def gap(minute: float, until: float) -> Tick:
    return Tick(SYMBOL, OPEN + round(minute * MINUTE), kind="gap", until=OPEN + round(until * MINUTE))


def candles(*ticks: Tick) -> dict[tuple[str, float], Candle]:
    host = Host()
    for offset, tick in enumerate(ticks):
        host.feed([(stamp(0, offset), tick)])
    return {(each.interval, (each.window_start - OPEN) / MINUTE): each for each in host.candles().values()}


def flagged(flag: str, *ticks: Tick) -> list[tuple[str, float]]:
    return sorted(at for at, candle in candles(*ticks).items() if getattr(candle, flag))


def test_control_records_alone_make_no_candle() -> None:
    assert candles(start(0), gap(1, 9)) == {}


def test_a_candle_that_began_before_its_subscription_is_partial() -> None:
    assert flagged("partial", start(7.5), trade(7.6), trade(9, 1)) == [("1d", 0), ("1m", 7), ("5m", 5)]


def test_a_snapshot_that_came_after_the_subscription_is_no_older_for_its_whole_seconds() -> None:
    """Subscribed 0.9 s after the full second, told of a trade of that second 0.05 s later."""
    subscribed = Tick(SYMBOL, OPEN + 7 * MINUTE + 30_900, kind="start")
    told = Tick(
        SYMBOL, OPEN + 7 * MINUTE + 30_000, 10.0, kind="snapshot", producer_timestamp=OPEN + 7 * MINUTE + 30_950
    )
    assert ("1m", 7) in flagged("partial", subscribed, told)
    assert ("1m", 7) not in flagged("partial", replace(told, producer_timestamp=subscribed.event_time - 1), subscribed)


@pytest.mark.parametrize("ticks", [(start(7.5), trade(7.6), trade(7.1, 1)), (start(7), trade(7.6)), (trade(7.6),)])
def test_a_candle_that_was_seen_from_its_start_on_is_not_partial(ticks: tuple[Tick, ...]) -> None:
    assert ("1m", 7) not in flagged("partial", *ticks)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_a_hole_flags_the_candles_it_reaches_whenever_it_is_told(order: tuple[int, ...]) -> None:
    ticks = [trade(0.5), trade(2.5, 1), trade(4, 2), gap(0.9, 3)]
    assert flagged("gap", *(ticks[n] for n in order)) == [("1d", 0), ("1m", 0), ("1m", 2), ("5m", 0)]


def test_a_hole_ends_before_the_window_that_it_ends_with() -> None:
    assert flagged("gap", trade(4), trade(5, 1), gap(4.5, 5)) == [("1d", 0), ("1m", 4), ("5m", 0)]


def test_a_hole_of_no_length_flags_its_window() -> None:
    assert ("1m", 4) in flagged("gap", trade(4), gap(4, 4))


def test_a_hole_without_trades_is_remembered_for_late_ones() -> None:
    assert ("1m", 3) in flagged("gap", gap(1, 5), trade(9), trade(3, 1))


def test_a_hole_flags_only_its_days() -> None:
    ticks = (trade(-1), trade(1, 1), gap(-2, -1), trade(1440, 2))
    assert [at for at in flagged("gap", *ticks) if at[0] == "1d"] == [("1d", -1440)]


def test_a_closed_candle_is_amended_by_a_hole_that_is_told_late() -> None:
    host = Host()
    host.feed([(1, trade(0)), (2, trade(9, 1))])
    host.feed([(3, gap(0.2, 0.4))])
    sent = {candle.window_start: candle for candle in host.steps[-1].sent if candle.interval == "1m"}
    assert (sent[OPEN].gap, sent[OPEN].state) == (True, "amended")


def test_repeated_control_records_change_nothing_but_the_version() -> None:
    ticks = [start(0.5), trade(0.7), gap(1, 2), trade(4, 1)]
    once, twice = candles(*ticks), candles(*ticks, start(0.5), gap(1, 2))
    for at, candle in once.items():
        candle.version = twice[at].version
    assert once == twice


def repair(minute: float, until: float) -> Tick:
    return replace(gap(minute, until), kind="repair")


def test_a_repaired_hole_leaves_no_candle_flagged_whatever_its_interval() -> None:
    ticks = (start(-1), trade(1.5), gap(2.2, 7.4), trade(7.5, 9), trade(3, 4))
    assert flagged("gap", *ticks) == [("1d", 0), ("1m", 3), ("1m", 7), ("5m", 0), ("5m", 5)]
    assert flagged("gap", *ticks, repair(2.2, 7.4)) == []


def test_a_window_stays_flagged_while_another_hole_in_it_is_open() -> None:
    ticks = (start(-1), trade(1.5), gap(2.1, 2.2), gap(2.5, 2.6), trade(2.7, 1))
    assert flagged("gap", *ticks, repair(2.1, 2.2)) == [("1d", 0), ("1m", 2), ("5m", 0)]
    assert flagged("gap", *ticks, repair(2.1, 2.2), repair(2.5, 2.6)) == []


def test_of_a_hole_that_is_repaired_in_part_the_rest_is_handed_on() -> None:
    ticks = (start(-1), trade(1.5), gap(1.6, 9.5), repair(1.6, 4), trade(3, 1), trade(6, 2))
    assert flagged("gap", *ticks) == [("1d", 0), ("1m", 6), ("5m", 0), ("5m", 5)]


def test_a_repair_says_nothing_of_holes_that_are_told_after_it() -> None:
    assert flagged("gap", trade(1.5), repair(0, 9), gap(1.2, 1.3)) == [("1d", 0), ("1m", 1), ("5m", 0)]


def test_a_closed_candle_is_amended_by_the_repair_alone_and_its_version_grows() -> None:
    host = Host()
    for offset, tick in enumerate((start(-1), trade(1.2), gap(1.3, 1.4), trade(8, 2))):
        host.feed([(stamp(0, offset), tick)])
    key = (SYMBOL, "1m", "regular", OPEN + MINUTE)
    before = host.sink[key]
    host.feed([(stamp(0, 9), repair(1.3, 1.4))])
    after = host.sink[key]
    assert (before.gap, before.is_closed, after.gap, after.state) == (True, True, False, "amended")
    assert after.version > before.version
    assert replace(after, gap=True, version=before.version, state=before.state) == before


def test_a_minute_that_only_the_history_knows_becomes_a_whole_closed_candle() -> None:
    host = Host()
    log = (start(-1), trade(1.2), gap(1.3, 6), trade(8, 9), trade(3.5, 5), repair(1.3, 6))
    for offset, tick in enumerate(log):
        host.feed([(stamp(0, offset), tick)])
    candle = host.sink[SYMBOL, "1m", "regular", OPEN + 3 * MINUTE]
    assert (candle.is_closed, candle.gap, candle.trades) == (True, False, 1)


def test_the_volume_of_a_vendor_that_only_counts_up_stays_flagged() -> None:
    def seen(minute: float, volume: int) -> Tick:
        return replace(trade(minute), kind="snapshot", day_volume=volume, trade_id=-1)

    assert ("1m", 5) in flagged("gap", start(-1), seen(1, 10), gap(2, 4), seen(5, 30), repair(2, 4))
