from __future__ import annotations

from stockstream.broker.pace import AT_ONCE, Pace, pace_of


def test_low_has_every_record_answered_at_once() -> None:
    assert pace_of("low", 524_288) == AT_ONCE
    assert AT_ONCE.min_bytes == 1


def test_thrifty_and_numbers_have_brokers_gather() -> None:
    assert pace_of("thrifty", 524_288) == Pace(131_072, 100)
    assert pace_of(250, 524_288) == Pace(131_072, 250)


def test_one_partition_that_lags_can_bring_what_is_waited_for() -> None:
    assert pace_of("thrifty", 10_000).min_bytes == 10_000
