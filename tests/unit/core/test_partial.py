from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ticks import dense_trades, growing_snapshots, snapshots

from stockstream.core.partial import Partial, decimal_text, fold, size_e8
from stockstream.models import Tick


def comparable(part: Partial) -> tuple[object, ...]:
    """All but the turnover, whose last bits depend on the order."""
    return (
        part.first, part.last, part.high, part.low, part.volume_e8, part.trades, part.cumulative,
        None if part.vwap is None else pytest.approx(part.vwap, rel=1e-12),
    )  # fmt: skip


parts = st.one_of(dense_trades, snapshots, growing_snapshots).map(
    lambda ticks: [Partial.of(tick, stamp) for stamp, tick in enumerate(ticks)]
)


def merged(parts: list[Partial]) -> Partial:
    whole = parts[0].copy()
    for part in parts[1:]:
        whole.merge(part)
    return whole


@given(parts, st.data())
def test_merging_is_commutative_and_associative(parts: list[Partial], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(1, len(parts)))
    whole = merged(shuffled[:cut])
    if shuffled[cut:]:
        whole.merge(merged(shuffled[cut:]))
    assert comparable(whole) == comparable(merged(parts))


@given(dense_trades, st.integers(1, 30))
def test_the_merge_of_parts_is_the_fold_of_the_whole(ticks: list[Tick], cut: int) -> None:
    stamped = list(enumerate(ticks))
    whole, first, second = fold(stamped), fold(stamped[:cut]), fold(stamped[cut:])
    assert whole is not None
    assert first is not None
    if second is not None:
        first.merge(second)
    assert comparable(first) == comparable(whole)


@given(parts)
def test_a_merge_leaves_the_other_part_as_it_was(parts: list[Partial]) -> None:
    before = [part.copy() for part in parts]
    whole = merged(parts)
    whole.merge(parts[0])
    assert parts == before


def test_nothing_folds_to_nothing() -> None:
    assert fold([]) is None


@given(st.integers(0, 2**26 * 10**8 - 1))
def test_sizes_of_eight_decimals_are_exact(amount: int) -> None:
    assert size_e8(amount / 10**8) == amount
    assert Decimal(decimal_text(amount)) == Decimal(amount).scaleb(-8)


@given(st.lists(st.integers(0, 10**14), min_size=1, max_size=50))
def test_volume_is_the_exact_sum(amounts: list[int]) -> None:
    part = fold([(n, Tick("A", 1, 2.0, amount / 10**8, trade_id=n)) for n, amount in enumerate(amounts)])
    assert part is not None
    assert part.volume_e8 == sum(amounts)


def test_a_sum_beyond_64_bits_keeps_its_last_decimal() -> None:
    coins = [Tick("A", 1, 1e-6, size) for size in (9e14, 9e14, 0.00000001)]
    part = fold(list(enumerate(coins)))
    assert part is not None
    assert decimal_text(part.volume_e8) == "1800000000000000.00000001"


def test_no_volume_has_no_average_price() -> None:
    assert Partial.of(Tick("A", 1, 2.0, 0.0), 0).vwap is None


def test_dust_does_not_pull_the_average_out_of_bounds() -> None:
    assert Partial.of(Tick("A", 1, 2.0, 6e-9), 0).vwap == 2.0


def test_the_sequence_orders_trades_of_one_millisecond_before_their_id_and_place() -> None:
    trades = [
        (0, Tick("A", 1, 1.0, 1.0, trade_id=9, sequence=1)),
        (1, Tick("A", 1, 2.0, 1.0, trade_id=8, sequence=3)),
        (2, Tick("A", 1, 3.0, 1.0, trade_id=7, sequence=2)),
    ]
    part = fold(trades)
    assert part is not None
    assert (part.first[3], part.last[3]) == (1.0, 2.0)


def test_trades_without_id_keep_the_order_of_the_log() -> None:
    part = fold([(5, Tick("A", 1, 1.0, 1.0)), (6, Tick("A", 1, 2.0, 1.0)), (7, Tick("A", 1, 2.0, 1.0))])
    assert part is not None
    assert (part.first[3], part.last[3], part.trades) == (1.0, 2.0, 3)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"event_time": 1}, {"event_time": 2}),
        ({"day_volume": 4}, {"day_volume": 5}),
        ({"producer_timestamp": 8}, {"producer_timestamp": 9}),
    ],
)
def test_snapshots_are_ordered_by_time_then_cumulative_then_reception(
    earlier: dict[str, int], later: dict[str, int]
) -> None:
    common = {"event_time": 1, "day_volume": 5, "producer_timestamp": 8, "kind": "snapshot"}
    first = Tick("A", price=1.0, **{**common, **earlier})  # type: ignore[arg-type]
    last = Tick("A", price=2.0, **{**common, **later})  # type: ignore[arg-type]
    part = fold([(1, last), (2, first)])
    assert part is not None
    assert (part.first[3], part.last[3]) == (1.0, 2.0)


def test_many_small_trades_are_not_lost_beside_a_huge_one() -> None:
    huge, small = Partial.of(Tick("A", 1, 10.0, 1e15), 0), Partial.of(Tick("A", 1, 1.0, 0.9), 1)
    last, first = small.copy(), huge.copy()
    for _ in range(20_000):
        first.merge(small)
        last.merge(small)
    first.merge(small)
    last.merge(huge)
    assert first.vwap == pytest.approx(last.vwap, rel=1e-15)
    assert first.turnover + first.turnover_low == 1e16 + 20_001 * 0.9
