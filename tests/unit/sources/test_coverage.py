from __future__ import annotations

from stockstream.models import Tick
from stockstream.sources.coverage import Coverage


def start(symbol: str, now_ms: int) -> Tick:
    return Tick(symbol, now_ms, kind="start", producer_timestamp=now_ms, source="venue")


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


def test_what_is_missed_of_a_removed_symbol_is_no_hole() -> None:
    coverage = Coverage("venue")
    coverage.subscribed(["A", "B"], 100)
    coverage.removed(["A"])
    coverage.lost(200, "aborted")
    coverage.removed(["B"])
    assert coverage.subscribed(["A", "B"], 300) == [start("A", 300), start("B", 300)]
