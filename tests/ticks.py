"""Ticks for property tests: few symbols and close times, so that windows are shared and their borders are hit."""

from __future__ import annotations

from hypothesis import strategies as st

from stockstream.models import Tick

MINUTE, DAY = 60_000, 86_400_000
MIDNIGHT = 20_000 * DAY
SYMBOL = "BINANCE:XRPETH"

_MINUTES = st.sampled_from([-7, -2, -1, 0, 1, 2, 3, 5, 6, 11, 1439])
_MILLISECONDS = st.sampled_from([0, 1, 20_000, 40_000, 59_999])
times = st.builds(lambda minute, ms: MIDNIGHT + minute * MINUTE + ms, _MINUTES, _MILLISECONDS)
prices = st.one_of(st.integers(1, 6).map(float), st.floats(1e-6, 1e6))
sizes = st.integers(0, 10**13).map(lambda amount: amount / 1e8)
symbols = st.sampled_from([SYMBOL, SYMBOL, "VCB.VN"])


def _trades(trade_ids: st.SearchStrategy[int]) -> st.SearchStrategy[Tick]:
    return st.builds(
        lambda symbol, at, price, size, trade_id: Tick(symbol, at, price, size, trade_id=trade_id, source="binance"),
        symbols, times, prices, sizes, trade_ids,
    )  # fmt: skip


def _by_id(ticks: list[Tick]) -> list[Tick]:
    return list({(tick.symbol, tick.event_time // MINUTE, tick.trade_id): tick for tick in ticks}.values())


dense_trades = st.lists(_trades(st.integers(0, 30)), min_size=1, max_size=25).map(_by_id)
sparse_trades = st.lists(_trades(st.integers(0, 2**40)), min_size=1, max_size=25).map(_by_id)
starts = st.builds(lambda symbol, at: Tick(symbol, at, kind="start"), symbols, times)
gaps = st.builds(
    lambda symbol, at, length: Tick(symbol, at, kind="gap", until=at + length, cause="silence"),
    symbols, times, st.sampled_from([0, 1, 1_000, 30_000, MINUTE, 200_000, 500_000, DAY]),
)  # fmt: skip
repairs = st.builds(
    lambda symbol, at, before, length: Tick(symbol, at - before, kind="repair", until=at + length, cause="history"),
    symbols, times, st.sampled_from([0, 1, 60_000]), st.sampled_from([0, 1, 1_000, 30_000, MINUTE, 300_000, DAY]),
)  # fmt: skip
controls = st.lists(st.one_of(starts, gaps), max_size=4)
snapshots = st.lists(
    st.builds(
        lambda symbol, at, price, volume, delay: Tick(
            symbol, at, price, day_volume=volume, kind="snapshot", producer_timestamp=at + delay
        ),
        symbols, times, prices, st.one_of(st.just(-1), st.integers(0, 8), st.integers(0, 2**40)), st.integers(0, 3),
    ),
    min_size=1, max_size=15,
)  # fmt: skip
"""Cumulative volumes at random: they go down more often than any vendor's."""


def _growing(ticks: list[Tick]) -> list[Tick]:
    for symbol in {tick.symbol for tick in ticks}:
        total = date = 0
        for tick in sorted((tick for tick in ticks if tick.symbol == symbol), key=lambda tick: tick.event_time):
            total = total if tick.event_time // DAY == date else 0
            date = tick.event_time // DAY
            total += max(tick.day_volume, 0) % 1000
            tick.day_volume = total
    return ticks


growing_snapshots = snapshots.map(_growing)
quotes = st.lists(
    st.builds(lambda symbol, at, price: Tick(symbol, at, price, kind="quote"), symbols, times, prices), max_size=3
)
subscribed = st.sampled_from(
    [[], [Tick(symbol, MIDNIGHT - DAY, kind="start") for symbol in (SYMBOL, "VCB.VN")]]  # since long ago, or unknown
)
streams = st.one_of(
    *(
        st.tuples(kind, controls, quotes, subscribed).map(lambda parts: [tick for part in parts for tick in part])
        for kind in (dense_trades, sparse_trades, snapshots, growing_snapshots, growing_snapshots)
    )
)
"""What one source may send, in no particular order: ticks of one sort, control records, quotes."""
repaired_streams = st.tuples(streams, st.lists(repairs, max_size=4)).map(lambda parts: parts[0] + parts[1])
"""With repairs, which count for what stands before them: what they say depends on their place in the log."""
