from __future__ import annotations

from stockstream.broker.pace import Pace, pace_of


def test_brokers_gather_for_as_long_as_the_budget_says() -> None:
    assert pace_of("low", 524_288) == Pace(131_072, 5)
    assert pace_of("thrifty", 524_288) == Pace(131_072, 85)
    assert pace_of(250, 524_288) == Pace(131_072, 250)


def test_one_partition_that_lags_can_bring_what_is_waited_for() -> None:
    assert pace_of("thrifty", 10_000).min_bytes == 10_000
