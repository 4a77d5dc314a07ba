from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.trade_ids import TradeIds

ids = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 2**63 - 1)), max_size=40)


@given(ids)
def test_an_id_is_new_once(added: list[int]) -> None:
    seen: set[int] = set()
    trade_ids = TradeIds()
    for trade_id in added:
        assert (trade_id in trade_ids) == (trade_id in seen)
        assert trade_ids.add(trade_id) == (trade_id not in seen)
        seen.add(trade_id)
    assert all(trade_id in trade_ids for trade_id in seen)


@given(ids)
def test_ranges_neither_touch_nor_overlap(added: list[int]) -> None:
    trade_ids = TradeIds()
    for trade_id in added:
        trade_ids.add(trade_id)
    bounds = trade_ids.bounds
    assert all(first <= last for first, last in zip(bounds[::2], bounds[1::2], strict=True))
    assert all(last + 1 < first for last, first in zip(bounds[1::2], bounds[2::2], strict=False))
    assert sum(last - first + 1 for first, last in zip(bounds[::2], bounds[1::2], strict=True)) == len(set(added))


def test_dense_ids_in_disorder_end_up_as_one_range() -> None:
    trade_ids = TradeIds()
    assert not trade_ids
    assert all(trade_ids.add(trade_id) for trade_id in (5, 3, 1, 2, 4))
    assert trade_ids.bounds == [1, 5]
    assert not trade_ids.add(3)
    assert trade_ids
