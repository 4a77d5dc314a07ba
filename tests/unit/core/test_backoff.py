"""Delays between attempts."""

from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.backoff import full_jitter


class Greatest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    assert list(islice(full_jitter(0.2, 60.0, Greatest()), 11)) == [
        0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0,
    ]  # fmt: skip


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers())
def test_no_delay_is_negative_or_above_the_cap(base_s: float, cap_s: float, seed: int) -> None:
    assert all(0 <= delay <= cap_s for delay in islice(full_jitter(base_s, cap_s, Random(seed)), 2_000))


def test_two_clients_do_not_wait_alike() -> None:
    first, second = (list(islice(full_jitter(0.2, 60.0, Random(seed)), 5)) for seed in (1, 2))
    assert first != second
