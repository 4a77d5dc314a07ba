from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import pytest
from stored import MINUTE_MS, T0_MS, candle

from stockstream.cli.compare import printer
from stockstream.cli.comparison import Comparison, Difference
from stockstream.models import Candle
from stockstream.sources.contract import VenueCandle


def theirs(ours: Candle, **other: Any) -> VenueCandle:
    volume, trades = ours.volume or 0.0, ours.trades or 0
    whole = VenueCandle("1m", ours.window_start, ours.open, ours.high, ours.low, ours.close, volume, trades)
    return replace(whole, **other)


def at(minute: int) -> int:
    return T0_MS + minute * MINUTE_MS


def test_equal_candles_do_not_differ_whatever_else_is_said_of_them() -> None:
    comparison = Comparison()
    ours = [candle(0), candle(1, 7, is_closed=True, partial=True, gap=True), candle(2)]
    assert comparison.add(ours, [theirs(each) for each in reversed(ours)]) == []
    assert comparison == Comparison(equal=3)
    assert (comparison.compared, comparison.is_equal) == (3, True)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("open", 1.5, ("1.5", "37000.1")),
        ("high", 38_000.0, ("38000.0", "37000.7")),
        ("low", 1e-7, ("0.00000010", "36999.9")),
        ("close", 37_000.30000000001, ("37000.30000000001", "37000.3")),
        ("volume", 12.00000002, ("12.00000002", "12.00000001")),
        ("volume", None, ("none", "12.00000001")),
        ("trades", 40, ("40", "41")),
        ("trades", None, ("none", "41")),
    ],
)
def test_each_field_is_compared_to_the_last_digit(field: str, value: Any, shown: tuple[str, str]) -> None:
    comparison = Comparison()
    found = comparison.add([candle(0), candle(1, **{field: value})], [theirs(candle(0)), theirs(candle(1))])
    assert [(each.start_ms, each.field) for each in found] == [(at(1), field)]
    assert [float(text) if text != "none" else text for text in (found[0].ours, found[0].theirs)] == [
        float(text) if text != "none" else text for text in shown
    ]
    assert "e" not in (found[0].ours + found[0].theirs).replace("none", "")
    assert comparison == Comparison(equal=1, different=1)
    assert not comparison.is_equal


def test_a_candle_that_differs_in_several_fields_counts_once() -> None:
    comparison = Comparison()
    found = comparison.add(
        [candle(open=1.0, low=1.0, gap=True), candle(1, low=2.0)], list(map(theirs, [candle(), candle(1)]))
    )
    assert [each.field for each in found] == ["open", "low", "low"]
    assert comparison == Comparison(different=2, marked=1)


def test_a_candle_that_one_side_lacks_is_missing_there() -> None:
    comparison = Comparison()
    found = comparison.add([candle(3, trades=1), candle(1, trades=None)], [theirs(candle(2), trades=1234)])
    assert found == [
        Difference(at(1), "candle", "one", "none"),
        Difference(at(2), "candle", "none", "1,234 trades"),
        Difference(at(3), "candle", "1 trade", "none"),
    ]
    assert comparison == Comparison(missing_here=1, missing_there=2)
    assert (comparison.compared, comparison.is_equal) == (3, False)


def test_a_venue_s_candle_without_trades_is_none() -> None:
    comparison = Comparison()
    assert comparison.add([], [theirs(candle(0), trades=0)]) == []
    assert comparison == Comparison()
    assert comparison.is_equal
    assert len(comparison.add([candle(1)], [theirs(candle(1), trades=0)])) == 1
    assert comparison == Comparison(missing_there=1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


FOUND = [Difference(at(0), "close", "1.5", "1.25"), Difference(at(1), "candle", "none", "3 trades")]


def test_differences_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show = printer("toy")
    monkeypatch.setattr(sys, "stdout", None)
    show(FOUND)
    show([])
    assert out.getvalue() == (
        "2023-11-14T22:14:00.000Z  close   1.5 here, 1.25 at toy\n"
        "2023-11-14T22:15:00.000Z  candle  none here, 3 trades at toy\n"
    )


def test_differences_are_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", out)
    show = printer("toy")
    for some in ([], FOUND[:1], [], FOUND[1:]):
        show(some)
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["window", "field", "here", "at", "toy"],
        ["2023-11-14T22:14:00.000Z", "close", "1.5", "1.25"],
        ["2023-11-14T22:15:00.000Z", "candle", "none", "3", "trades"],
    ]
