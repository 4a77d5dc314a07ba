from __future__ import annotations

import random

import pytest

from stockstream.broker.latency import Latency


def test_without_delays_there_is_no_percentile() -> None:
    assert Latency().percentile_ms(50) is None


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 100])
def test_a_percentile_is_the_bound_of_the_bucket_that_it_lies_in(percent: float) -> None:
    rng, latency = random.Random(3), Latency()
    delays_ms = [rng.lognormvariate(1.5, 1) for _ in range(1000)]
    for delay_ms in delays_ms:
        latency.add(delay_ms / 1000)
    exact = sorted(delays_ms)[int(10 * percent) - 1]
    told = latency.percentile_ms(percent)
    assert told is not None
    assert exact <= told <= max(1.0, 2.5 * exact)


def test_what_is_beyond_the_last_bucket_is_endless() -> None:
    latency = Latency()
    latency.add(0.001, 99)
    latency.add(100.0)
    assert latency.percentile_ms(99) == 1
    assert latency.percentile_ms(100) == float("inf")
