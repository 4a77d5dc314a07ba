"""The same ticks give the same candles, in any order, any batching, with any duplicates."""

from __future__ import annotations

from crashing import CLOSED_BIT, CandleKey, Host, in_batches, log_of, unversioned
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_as_in, reference_candles
from ticks import repaired_streams, streams

from stockstream.models import Candle, Tick


def candles_of(log: list[tuple[int, Tick]], cuts: set[int], columnar: bool = False) -> dict[CandleKey, Candle]:
    host = Host(columnar=columnar)
    for batch in in_batches(log, cuts):
        host.feed(batch)
    return host.candles()


cuts = st.sets(st.integers(1, 40), max_size=12)


@st.composite
def disordered(draw: st.DrawFn) -> tuple[list[Tick], list[Tick]]:
    """A stream, and the same one shuffled and with duplicates."""
    ticks = draw(streams)
    again = draw(st.lists(st.sampled_from(ticks), max_size=10))
    return ticks, draw(st.permutations(ticks + again))


@given(disordered(), cuts, cuts)
def test_shuffled_duplicated_and_cut_anywhere_ticks_give_the_same_candles(
    both: tuple[list[Tick], list[Tick]], some: set[int], others: set[int]
) -> None:
    ticks, mixed = both
    first, second = candles_of(log_of(ticks), some), candles_of(log_of(mixed), others, columnar=True)
    assert first.keys() == second.keys()
    for key, candle in first.items():
        assert unversioned(candle) == unversioned(second[key])
        if candle.vwap is not None:
            assert abs(candle.vwap - second[key].vwap) <= 1e-12 * candle.vwap


@given(repaired_streams, st.data(), cuts)
def test_candles_are_those_of_the_reference(ticks: list[Tick], data: st.DataObject, some: set[int]) -> None:
    again = data.draw(st.lists(st.sampled_from(ticks), max_size=10))
    log = log_of(data.draw(st.permutations(ticks + again)))
    found = candles_of(log, some, columnar=True)
    expected = reference_candles(log)
    assert_as_in(expected, found)


@given(streams, cuts)
def test_every_candle_keeps_its_bounds(ticks: list[Tick], some: set[int]) -> None:
    for candle in candles_of(log_of(ticks), some).values():
        assert candle.low <= candle.open <= candle.high
        assert candle.low <= candle.close <= candle.high
        assert candle.vwap is None or candle.low <= candle.vwap <= candle.high
        assert candle.volume is None or candle.volume >= 0
        assert candle.window_start < candle.window_end
        assert candle.session_open < candle.session_close


@given(repaired_streams, cuts, cuts)
def test_the_same_log_gives_the_same_versions_however_it_is_cut(
    ticks: list[Tick], some: set[int], others: set[int]
) -> None:
    log = log_of(ticks)
    first, second = candles_of(log, some), candles_of(log, others, columnar=True)
    assert first.keys() == second.keys()
    for key, candle in first.items():
        open_bits = ~CLOSED_BIT
        assert candle.version & open_bits == second[key].version & open_bits


@given(streams, cuts)
def test_quotes_change_no_candle(ticks: list[Tick], some: set[int]) -> None:
    log = log_of(ticks)
    without = [(at, tick) for at, tick in log if tick.kind != "quote"]
    first, second = candles_of(log, some), candles_of(without, some) if without else {}
    assert {key: (unversioned(candle), candle.version & ~CLOSED_BIT) for key, candle in first.items()} == {
        key: (unversioned(candle), candle.version & ~CLOSED_BIT) for key, candle in second.items()
    }
