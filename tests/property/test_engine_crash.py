"""The same log gives the same candles and versions, wherever crashes fall and however torn they leave the rows.

Each table, and each row of it, may come back in any state since the last commit; what was sent since may be lost.
"""

from __future__ import annotations

from dataclasses import replace

from crashing import (
    Host,
    assert_equal_candles,
    assert_same,
    in_batches,
    restarted,
    run_through,
    run_with_crashes,
)
from hypothesis import given
from hypothesis import strategies as st
from ticks import DAY, MINUTE, SYMBOL, controls, dense_trades, prices, repaired_streams

from stockstream.core.interval import Address
from stockstream.core.row import stamp
from stockstream.models import Tick

MUCH_LATER = 10**12


@st.composite
def replayed_logs(draw: st.DrawFn) -> list[tuple[int, Tick]]:
    """A log with disorder and duplicates; offsets have holes, as markers of transactions leave them."""
    ticks = draw(repaired_streams)
    ticks = draw(st.permutations(ticks + draw(st.lists(st.sampled_from(ticks), max_size=6))))
    step = draw(st.sampled_from([1, 3]))
    return [(stamp(1, n * step), tick) for n, tick in enumerate(ticks)]


@given(replayed_logs(), st.sets(st.integers(1, 40), max_size=10), st.data())
def test_rows_after_crashes_are_those_of_an_undisturbed_run(
    log: list[tuple[int, Tick]], cuts: set[int], data: st.DataObject
) -> None:
    assert_same(run_with_crashes(log, data).candles(), run_through(log, cuts).candles())


@given(replayed_logs(), st.sets(st.integers(1, 40), max_size=10), st.data())
def test_what_is_published_ends_up_as_in_an_undisturbed_run(
    log: list[tuple[int, Tick]], cuts: set[int], data: st.DataObject
) -> None:
    disturbed, straight = run_with_crashes(log, data), run_through(log, cuts)
    disturbed.idle(MUCH_LATER)
    straight.idle(MUCH_LATER)
    assert_same(disturbed.sink, straight.sink)
    assert_same(disturbed.sink, disturbed.candles())
    assert all(candle.is_closed for candle in disturbed.sink.values())
    assert disturbed.verdicts == straight.verdicts


@given(replayed_logs(), st.data())
def test_closings_are_published_although_a_crash_swallowed_them(
    log: list[tuple[int, Tick]], data: st.DataObject
) -> None:
    host = run_through(log, {data.draw(st.integers(1, 40))})
    host.idle(MUCH_LATER)
    host = restarted(host, data)
    host.idle(MUCH_LATER)
    assert all(candle.is_closed for candle in host.sink.values())
    assert_same(host.sink, host.candles())


@st.composite
def long_logs(draw: st.DrawFn, late_controls: bool = True) -> list[tuple[int, Tick]]:
    """Ticks of one symbol over many days, mostly in order, now and then far too late."""
    ticks: list[Tick] = []
    at = 20_000 * DAY
    volume = 0
    snapshots = draw(st.booleans())
    for _ in range(draw(st.integers(2, 25))):
        at += draw(st.sampled_from([1_000, 20_000, MINUTE, MINUTE, 3 * MINUTE, 7 * MINUTE, DAY // 3, DAY, 2 * DAY]))
        late = draw(st.sampled_from([0, 0, 0, 30_000, 3 * MINUTE, DAY, 3 * DAY]))
        price = draw(prices)
        what = draw(st.sampled_from(["tick"] * 8 + ["start", "gap", "repair"]))
        if what != "tick" and not late_controls:
            late = min(late, MINUTE)
        if what == "start":
            ticks.append(Tick(SYMBOL, at - late, kind="start"))
        elif what == "gap":
            ticks.append(Tick(SYMBOL, at - late - 200_000, kind="gap", until=at - late))
        elif what == "repair":
            ticks.append(Tick(SYMBOL, at - late - 300_000, kind="repair", until=at - late))
        elif snapshots:
            volume += draw(st.integers(0, 5))
            ticks.append(Tick(SYMBOL, at - late, price, day_volume=volume, kind="snapshot"))
        else:
            ticks.append(Tick(SYMBOL, at - late, price, 1.0, trade_id=len(ticks)))
        if draw(st.integers(0, 5)) == 0:
            ticks.append(ticks[-1])
    return [(stamp(0, n), tick) for n, tick in enumerate(ticks)]


RETENTION_MS = 2 * DAY
retentions = st.sampled_from([2 * MINUTE, 12 * MINUTE, RETENTION_MS])


def _outlasts_a_gap(retention_ms: int) -> bool:
    """Whether the windows are still kept that the gap records of `long_logs` reach."""
    return retention_ms > 5 * MINUTE


@given(long_logs(), retentions, st.data())
def test_crashes_and_eviction_together_change_nothing(
    log: list[tuple[int, Tick]], retention_ms: int, data: st.DataObject
) -> None:
    disturbed = run_with_crashes(log, data, retention_ms=retention_ms)
    straight = run_through(log, set(range(len(log))), retention_ms=retention_ms)
    disturbed.idle(MUCH_LATER)
    straight.idle(MUCH_LATER)
    assert_same(disturbed.sink, straight.sink)
    assert disturbed.verdicts == straight.verdicts


@given(
    long_logs(late_controls=False),
    retentions.filter(_outlasts_a_gap),
    st.sets(st.integers(1, 30), max_size=10),
    st.booleans(),
)
def test_eviction_shows_only_in_what_it_refuses(
    log: list[tuple[int, Tick]], retention_ms: int, cuts: set[int], commits: bool
) -> None:
    evicting = Host(retention_ms=retention_ms)
    for batch in in_batches(log, cuts):
        evicting.feed(batch)
        if commits:
            evicting.commit()
    kept = [
        (at, tick) for at, tick in log if evicting.verdicts[at] == "accepted" or evicting.verdicts[at] == "duplicate"
    ]
    keeping = run_through(kept, set(range(len(kept))))
    evicting.idle(MUCH_LATER)
    keeping.idle(MUCH_LATER)
    assert_same(evicting.sink, keeping.sink)


@given(long_logs())
def test_old_rows_go_and_the_newest_stays(log: list[tuple[int, Tick]]) -> None:
    host = run_through(log, set(range(len(log))), retention_ms=RETENTION_MS)
    by_interval: dict[str, list[Address]] = {}
    for at in host.rows.stored:
        by_interval.setdefault(at[0], []).append(at)
    for addresses in by_interval.values():
        starts = sorted(start for _, _, start in addresses)
        ended = [start for start in starts if start < starts[-1] - RETENTION_MS - 2 * DAY]
        assert starts
        assert len(ended) <= len(log)
    newest = max((tick.event_time for _, tick in log if tick.kind in ("trade", "snapshot")), default=None)
    if newest is not None:
        assert ("1m", (SYMBOL, "regular"), newest // MINUTE * MINUTE) in host.rows.stored


@given(dense_trades, controls, st.data())
def test_after_an_epoch_begins_offsets_start_over_and_nothing_is_skipped(
    trades: list[Tick], marks: list[Tick], data: st.DataObject
) -> None:
    ticks = [*trades, *marks]
    cut = data.draw(st.integers(0, len(ticks)))
    log = [(stamp(0, 1_000_000 + n), tick) for n, tick in enumerate(ticks[:cut])]
    log += [(stamp(1, n), tick) for n, tick in enumerate(ticks[cut:])]
    reborn = run_through(log, {cut})
    plain = run_through([(stamp(0, n), tick) for n, tick in enumerate(ticks)], {cut})
    found, expected = reborn.candles(), plain.candles()
    assert found.keys() == expected.keys()
    for key, candle in expected.items():
        assert_equal_candles(replace(found[key], version=0), replace(candle, version=0))
