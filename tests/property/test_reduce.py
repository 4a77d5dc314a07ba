"""Columns are reduced to the same pieces as the ticks one by one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from columns import columns_of
from hypothesis import given
from hypothesis import strategies as st
from ticks import dense_trades, growing_snapshots, quotes, snapshots, sparse_trades

from stockstream.core.batch import Batch, add_ticks
from stockstream.core.partial import Partial, fold
from stockstream.core.piece import Minute, Piece
from stockstream.core.reduce import add_columns
from stockstream.core.trade_ids import TradeIds
from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy
from stockstream.models import Tick

UTC_DAYS = Trading()
BASE = 3 << 55
POLICY = Policy(feed_delay_ms={"slow": 3_600_000})

anything = st.builds(
    Tick,
    symbol=st.sampled_from(["A", "B.VN", "not a symbol", ""]),
    event_time=st.one_of(st.integers(-5, 5), st.integers(1_700_000_000_000, 1_700_000_300_000), st.integers(0, 2**62)),
    price=st.one_of(st.floats(), st.floats(1e-9, 1e15), st.sampled_from([0.0, -0.0, 1.0, 1e15])),
    last_size=st.one_of(st.floats(), st.floats(0, 1e15), st.just(1e15)),
    day_volume=st.integers(-1, 2**62),
    trade_id=st.one_of(st.integers(-1, 6), st.integers(0, 2**62)),
    kind=st.sampled_from(["trade", "snapshot", "quote"]),
    producer_timestamp=st.one_of(st.just(0), st.integers(1_700_000_000_000, 1_700_004_000_000)),
    sequence=st.one_of(st.none(), st.integers(-3, 3)),
    source=st.sampled_from(["yahoo", "binance"]),
    exchange=st.sampled_from(["", "slow", "x" * 70]),
)
logs = st.one_of(
    st.lists(anything, max_size=30),
    *(
        st.tuples(kind, quotes, st.booleans()).map(
            lambda parts: sorted(parts[0] + parts[1], key=lambda tick: tick.event_time if parts[2] else 0)
        )
        for kind in (dense_trades, sparse_trades, snapshots, growing_snapshots)
    ),
)


def numbered(ticks: list[Tick]) -> list[tuple[int, Tick]]:
    return [(10 + 2 * place, tick) for place, tick in enumerate(ticks)]


def both(log: list[tuple[int, Tick]], trading: Trading = UTC_DAYS) -> tuple[Batch, Batch]:
    scalar, columnar = Batch(), Batch()
    add_ticks(scalar, POLICY, trading, [(BASE + offset, tick) for offset, tick in log])
    add_columns(columnar, POLICY, trading, columns_of(log), BASE)
    return scalar, columnar


def pieces(batch: Batch) -> dict[Minute, Piece]:
    return dict(pair for run in batch.runs.values() for pair in run.pieces())


def assert_same_bar(expected: Partial, found: Partial) -> None:
    """Equal in everything; of the turnover, whose last bits hang on the order of additions, in the first 30 digits."""
    exact = Fraction(expected.turnover) + Fraction(expected.turnover_low)
    known = Fraction(found.turnover) + Fraction(found.turnover_low)
    assert abs(exact - known) <= exact / 10**28
    without = {"turnover": 0.0, "turnover_low": 0.0}
    assert replace(expected, **without) == replace(found, **without)


def assert_summarised(piece: Piece) -> None:
    if piece.summary is None:
        return
    ticks = piece.ticks()
    whole = fold(ticks)
    assert whole is not None
    assert (piece.summary.first, piece.summary.last) == (ticks[0][0], ticks[-1][0])
    assert_same_bar(whole, piece.summary.whole)
    seen = TradeIds()
    assert all(seen.add(tick.trade_id) for _, tick in ticks if tick.kind == "trade" and tick.trade_id >= 0)
    assert seen.bounds == piece.summary.ids


@given(logs)
def test_columns_come_to_the_same_pieces(ticks: list[Tick]) -> None:
    scalar, columnar = both(numbered(ticks))
    assert (scalar.count, scalar.last, scalar.refused) == (columnar.count, columnar.last, columnar.refused)
    for expected, found in ((scalar.pieces, pieces(columnar)), (scalar.quotes, columnar.quotes)):
        assert expected.keys() == found.keys()
        for at, piece in expected.items():
            assert piece.ticks() == found[at].ticks()
            assert piece.clocks == found[at].clocks
            assert_summarised(found[at])


@given(dense_trades, st.integers(0, 2**32))
def test_ordinary_trades_are_summarised(ticks: list[Tick], seed: int) -> None:
    """The quick way is taken: ids ascend with the log."""
    ordered = sorted(ticks, key=lambda tick: (tick.event_time, tick.trade_id))
    for trade_id, tick in enumerate(ordered):
        tick.trade_id = trade_id
    _, columnar = both(numbered(ordered))
    assert columnar.runs
    assert all(piece.summary is not None for piece in pieces(columnar).values())


def test_many_ticks_of_very_different_worth_are_summed_exactly() -> None:
    rng = np.random.default_rng(5)
    prices, sizes = 10 ** rng.uniform(-8, 15, 5000), 10 ** rng.uniform(-8, 9, 5000)
    ticks = [
        Tick("A", 1_700_000_000_000 + place, float(price), float(size), trade_id=place)
        for place, (price, size) in enumerate(zip(prices, sizes, strict=True))
    ]
    scalar, columnar = both(numbered(ticks))
    found = pieces(columnar)
    assert scalar.pieces.keys() == found.keys()
    for at, piece in scalar.pieces.items():
        summary = found[at].summary
        assert summary is not None
        assert_summarised(found[at])
        exact = sum(Fraction(tick.price * tick.last_size) for _, tick in piece.ticks())
        bar = summary.whole
        assert abs(Fraction(bar.turnover) + Fraction(bar.turnover_low) - exact) <= exact / 10**30
