from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.interval import Address
from stockstream.core.row import Row
from stockstream.core.rows import Rows


def at(start: int, symbol: str = "A", interval: str = "1m") -> Address:
    return interval, (symbol, "regular"), start


def test_neighbours_are_of_the_same_interval_and_symbol() -> None:
    rows = Rows()
    for address in (at(0), at(2), at(1, "B"), at(1, interval="5m")):
        rows.put(address, Row(1))
    assert (rows.before(at(2)), rows.after(at(0))) == (0, 2)
    assert (rows.before(at(0)), rows.after(at(2)), rows.before(at(0, "C"))) == (None, None, None)


def test_a_deleted_row_is_gone_and_may_be_deleted_again() -> None:
    rows = Rows()
    rows.put(at(0), Row(1))
    rows.delete(at(0))
    rows.delete(at(0))
    assert rows.get(at(0)) is None
    assert rows.after(at(-1)) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40), st.integers(-1, 10))
def test_neighbours_are_found_whatever_came_and_went(changes: list[tuple[int, bool]], place: int) -> None:
    rows = Rows()
    kept: set[int] = set()
    for start, put in changes:
        if put:
            rows.put(at(start), Row(1))
            kept.add(start)
        else:
            rows.delete(at(start))
            kept.discard(start)
    assert rows.before(at(place)) == max((start for start in kept if start < place), default=None)
    assert rows.after(at(place)) == min((start for start in kept if start > place), default=None)
    assert list(rows.addresses("1m")) == [at(start) for start in sorted(kept)]
