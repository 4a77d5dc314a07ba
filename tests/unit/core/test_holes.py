from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.holes import MOST, add, cut, pairs, touches

spans = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))
steps = st.lists(st.tuples(st.booleans(), spans), max_size=12)


def moments(bounds: list[int]) -> set[float]:
    """The middles of the ms inside of the holes."""
    return {at + 0.5 for low, high in pairs(bounds) for at in range(low, high)}


@given(steps)
def test_a_set_of_holes_is_what_was_added_and_not_cut_out_since(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    bounds: list[int] = []
    inside: set[float] = set()
    for is_hole, (low, high) in steps:
        bounds = add(bounds, low, high) if is_hole else cut(bounds, low, high)
        span = moments([low, high])
        inside = inside | span if is_hole else inside - span
        assert moments(bounds) == inside
        assert bounds == sorted(bounds)


def test_too_many_holes_become_fewer_greater_ones() -> None:
    bounds: list[int] = []
    for at in range(MOST):
        bounds = add(bounds, 100 * at, 100 * at + 10)
    bounds = add(bounds, 100 * MOST - 50, 100 * MOST - 40)
    assert len(bounds) == 2 * MOST
    assert bounds[-2:] == [100 * MOST - 100, 100 * MOST - 40]


def test_a_hole_without_length_is_in_the_window_that_it_begins() -> None:
    assert touches([60, 60], 60, 120)
    assert not touches([60, 60], 0, 60)
    assert not touches([30, 60], 60, 120)
    assert touches([30, 61], 60, 120)
