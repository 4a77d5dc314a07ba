from __future__ import annotations

import pytest

from stockstream.core.interval import MINUTE_MS
from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import Tick
from stockstream.sources.coverage import Coverage


def start(symbol: str, since_ms: int, now_ms: int | None = None) -> Tick:
    stamp = since_ms if now_ms is None else now_ms
    return Tick(symbol, since_ms, kind="start", producer_timestamp=stamp, source="venue")


def gap(symbol: str, from_ms: int, until_ms: int, cause: str, now_ms: int | None = None) -> Tick:
    stamp = until_ms if now_ms is None else now_ms
    return Tick(symbol, from_ms, kind="gap", producer_timestamp=stamp, source="venue", until=until_ms, cause=cause)


def test_a_first_subscription_is_a_start_and_no_gap() -> None:
    assert Coverage("venue").subscribed(["A", "B"], 100) == [start("A", 100), start("B", 100)]


def test_a_connection_that_never_was_leaves_no_hole() -> None:
    coverage = Coverage("venue")
    coverage.lost(0, "refused")
    assert coverage.subscribed(["A"], 100) == [start("A", 100)]


def test_a_hole_reaches_from_what_was_heard_last_to_the_new_subscription() -> None:
    coverage = Coverage("venue")
    coverage.subscribed(["A", "B"], 100)
    coverage.lost(250, "closed 1001")
    coverage.lost(250, "refused")
    coverage.lost(250, "refused")
    assert "A" not in coverage
    assert coverage.subscribed(["A"], 400) == [gap("A", 250, 400, "closed 1001, refused")]
    assert coverage.subscribed(["B"], 500) == [gap("B", 250, 500, "closed 1001, refused")]
    assert "A" in coverage


def test_a_hole_does_not_begin_before_its_symbol_was_subscribed() -> None:
    coverage = Coverage("venue")
    coverage.subscribed(["A"], 100)
    coverage.subscribed(["B"], 300)
    coverage.lost(200, "aborted")
    assert coverage.subscribed(["B"], 400) == [gap("B", 300, 400, "aborted")]


def test_a_clock_that_was_set_back_makes_an_empty_hole() -> None:
    coverage = Coverage("venue")
    coverage.subscribed(["A"], 100)
    coverage.lost(200, "aborted")
    assert coverage.subscribed(["A"], 150) == [gap("A", 200, 200, "aborted", now_ms=150)]


def test_a_hole_holds_what_was_under_way_and_what_happens_until_what_was_asked_for_surely_flows() -> None:
    coverage = Coverage("venue", 300, 2000)
    assert coverage.subscribed(["A", "B"], 1000) == [start("A", 700, 1000), start("B", 700, 1000)]
    coverage.lost(1500, "aborted")
    assert coverage.subscribed(["A"], 1600) == [gap("A", 1200, 3600, "aborted")]
    coverage.lost(1700, "aborted")
    assert coverage.subscribed(["A"], 1800) == [gap("A", 3600, 3800, "aborted")], "until 3600 it was told already"
    assert coverage.subscribed(["B"], 1800) == [gap("B", 1200, 3800, "aborted")]


@pytest.mark.parametrize(("latency_ms", "effective_after_ms"), [(2000, 0), (0, 2000), (2000, 2000), (0, 0)])
@pytest.mark.parametrize("after_ms", [-2001, -2000, -1999, -1, 0, 1, 1999, 2000, 2001])
def test_every_minute_that_is_not_surely_whole_is_flagged(
    latency_ms: int, effective_after_ms: int, after_ms: int
) -> None:
    """Whenever in the moment of its subscription the first trade happens that comes."""
    now_ms = MINUTE_MS + after_ms
    records = Coverage("venue", latency_ms, effective_after_ms).subscribed(["A"], now_ms)
    since_ms, until_ms = now_ms - latency_ms, now_ms + effective_after_ms
    for first_ms in {since_ms, max(since_ms, min(MINUTE_MS, until_ms)), until_ms}:
        engine = OfflineEngine(Policy())
        engine.add([*records, *(Tick("A", ms, 1.0, 1.0, source="venue") for ms in (first_ms, 2 * MINUTE_MS))])
        engine.finish()
        found = {candle.window_start: candle.partial or candle.gap for candle, _ in engine.candles("1m")}
        unsure = [at_ms for at_ms in found if at_ms < until_ms and since_ms < at_ms + MINUTE_MS and at_ms != since_ms]
        assert [at_ms for at_ms, is_flagged in found.items() if is_flagged] == unsure


def test_of_symbols_that_others_had_nothing_is_said_but_that_they_are_subscribed() -> None:
    coverage = Coverage("venue", 300, 2000)
    coverage.inherit(["A"])
    assert coverage.subscribed(["A"], MINUTE_MS) == [start("A", MINUTE_MS)]
    coverage.lost(MINUTE_MS + 500, "aborted")
    coverage.removed(["A"])
    assert coverage.subscribed(["A"], MINUTE_MS + 1) == [
        start("A", MINUTE_MS - 299, MINUTE_MS + 1),
        gap("A", MINUTE_MS, MINUTE_MS + 2001, "subscribing"),
    ]


def test_what_is_missed_of_a_removed_symbol_is_no_hole() -> None:
    coverage = Coverage("venue")
    coverage.subscribed(["A", "B"], 100)
    coverage.removed(["A"])
    coverage.lost(200, "aborted")
    coverage.removed(["B"])
    assert coverage.subscribed(["A", "B"], 300) == [start("A", 300), start("B", 300)]
