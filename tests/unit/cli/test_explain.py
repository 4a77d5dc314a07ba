"""Records of one candle picked out of a log, and shown; tests/integration has the servers."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from columns import columns_of
from stored import T0_MS, candle

from stockstream.agents.intake import Intake, Letter
from stockstream.cli.comparison import Difference, differences
from stockstream.cli.explain.command import _kept
from stockstream.cli.explain.fold import Fold
from stockstream.cli.explain.show import Stored, as_json, print_text
from stockstream.cli.explain.window import Window
from stockstream.cli.text import aligned, plain
from stockstream.core.piece import Stamped
from stockstream.core.row import stamp
from stockstream.core.rules import CandleRules
from stockstream.core.verdict import Policy
from stockstream.models import Tick, Verdict

SYMBOL = "BINANCE:A"
MINUTE_MS, DAY_MS = 60_000, 86_400_000
RULES = CandleRules(Policy(), close_delay_ms=5000, retention_ms=DAY_MS, epoch=3)
LATER_MS = T0_MS + 10 * DAY_MS
EMPTY = columns_of([])


def trade(after_ms: int, price: float = 1.0, **fields: Any) -> Tick:
    return replace(Tick(SYMBOL, T0_MS + after_ms, price, 1.0), **fields)


def stamped(*ticks: Tick, first: int = 0) -> list[Stamped]:
    return [(stamp(RULES.epoch, first + at), tick) for at, tick in enumerate(ticks)]


def folded(*batches: list[Stamped], letters: dict[int, int] | None = None, interval: str = "1m") -> Fold:
    """``letters``: offsets, and when the log took them; they come after the batch that they lie in or before."""
    fold = Fold(Window(SYMBOL, interval, T0_MS - T0_MS % {"1m": MINUTE_MS, "1d": DAY_MS}[interval]), RULES)
    letters = letters or {}
    begin = 0
    for batch in batches:
        end = (batch[-1][0] - stamp(RULES.epoch, 0) + 2) if batch else begin
        mine = [
            Letter(SYMBOL.encode(), b"", at, Verdict.CORRUPT, "torn") for at in sorted(letters) if begin <= at < end
        ]
        fold.add("ticks", 1, Intake(batch, EMPTY, mine), letters)
        begin = end
    fold.end(LATER_MS)
    return fold


def offsets(fold: Fold) -> list[int]:
    return [each.place.offset for each in fold.found]


def test_a_window_holds_its_ticks_and_the_controls_that_reach_into_it() -> None:
    window = Window(SYMBOL, "1m", T0_MS)

    def gap(from_ms: int, until_ms: int) -> Tick:
        return trade(from_ms, kind="gap", until=T0_MS + until_ms)

    assert [window.holds(trade(after_ms)) for after_ms in (-1, 0, 59_999, 60_000)] == [False, True, True, False]
    assert [window.holds(gap(*span)) for span in ((-5, 0), (-5, 1), (0, 0), (59_999, 99_999), (60_000, 60_001))] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert window.first_ms == T0_MS - T0_MS % DAY_MS


def test_places_and_edges_are_those_of_the_log() -> None:
    fold = folded(
        stamped(trade(-1, 50), trade(2000, 3, trade_id=2), trade(1000, 2, trade_id=1)),
        stamped(trade(3000, 3, trade_id=3), trade(3000, 9, trade_id=3), trade(60_000, 70), first=3),
    )
    assert [(each.place.offset, each.verdict) for each in fold.found] == [
        (1, Verdict.ACCEPTED),
        (2, Verdict.ACCEPTED),
        (3, Verdict.ACCEPTED),
        (4, Verdict.DUPLICATE),
    ]
    assert {name: found.place.offset for name, found in fold.edges().items()} == {
        "open": 2,
        "high": 1,
        "low": 2,
        "close": 3,
    }
    made = fold.candle
    assert made is not None
    assert (made.open, made.high, made.low, made.close, made.trades, fold.volume) == (2, 3, 2, 3, 3, "3")
    assert made.version == (RULES.epoch << 56) + (1 << 55) + 4
    assert (made.state, fold.baseline) == ("closed", None)


def test_a_window_that_is_not_over_is_forming() -> None:
    fold = Fold(Window(SYMBOL, "1m", T0_MS), RULES)
    fold.add("ticks", 0, Intake(stamped(trade(1)), EMPTY, []), {})
    fold.end(T0_MS + MINUTE_MS + RULES.close_delay_ms - 1)
    assert fold.candle is not None
    assert fold.candle.state == "forming"


def test_what_comes_after_the_window_closed_amends_it() -> None:
    late = trade(1, 5, producer_timestamp=T0_MS + 2 * MINUTE_MS)
    fold = folded(stamped(trade(0)), stamped(trade(70_000), first=1), stamped(late, first=2))
    assert fold.candle is not None
    assert (fold.candle.state, fold.candle.high) == ("amended", 5)


def test_only_the_symbol_s_newest_window_makes_a_tick_expired_and_one_far_tick_is_enough() -> None:
    far = [trade(DAY_MS + number * MINUTE_MS) for number in range(1, 50)]
    fold = folded(stamped(trade(0), *far, trade(1)))
    assert [(each.place.offset, each.verdict) for each in fold.found] == [
        (0, Verdict.ACCEPTED),
        (50, Verdict.EXPIRED),
    ]
    bad = [replace(tick, price=-1.0) for tick in far]
    assert [each.verdict for each in folded(stamped(trade(0), *bad, trade(1))).found] == [Verdict.ACCEPTED] * 2
    rows = list(fold._rows.addresses("1m"))
    assert len(rows) == 2 + 1  # up to what closes and expires it, and one beyond


def test_a_candle_is_told_though_the_workers_keep_it_no_longer() -> None:
    later = [trade(after_ms) for after_ms in (MINUTE_MS, 2 * MINUTE_MS, DAY_MS + 59_000)]
    fold = folded(stamped(trade(0)), stamped(*later, first=1), stamped(trade(2 * DAY_MS), first=4))
    assert fold.volume == "1"
    assert list(fold.edges()) == ["open", "high", "low", "close"]


def test_columns_are_told_as_ticks_are() -> None:
    ticks = [
        trade(-1),
        trade(5, 2),
        trade(6, -2),
        trade(2 * DAY_MS, -1),
        trade(2 * DAY_MS),
        trade(3 * DAY_MS),
        trade(7),
    ]
    one_by_one = folded(stamped(*ticks))
    fold = Fold(Window(SYMBOL, "1m", T0_MS), RULES)
    fold.add("ticks", 1, Intake([], columns_of(list(enumerate(ticks))), []), {})
    fold.end(LATER_MS)
    assert fold.found == one_by_one.found
    assert [each.verdict for each in fold.found] == [Verdict.ACCEPTED, Verdict.BAD_PRICE, Verdict.EXPIRED]
    assert (fold.candle, fold.earliest_ms) == (one_by_one.candle, one_by_one.earliest_ms)


def test_what_is_no_tick_is_told_where_it_lies_among_the_window_s_or_came_in_its_time() -> None:
    ticks = stamped(trade(-1), first=1) + stamped(trade(1), first=4) + stamped(trade(2), first=6)
    assert offsets(folded(ticks, letters={0: 0, 2: 0, 5: 0, 7: 0})) == [4, 5, 6]
    fold = folded(ticks, letters={0: 0, 2: T0_MS + 5, 3: 0, 5: 0, 7: T0_MS + MINUTE_MS})
    assert offsets(fold) == [2, 3, 4, 5, 6]
    assert fold.others == {Verdict.CORRUPT: 2}
    assert [(each.verdict, each.told, each.is_tick) for each in fold.found[:1]] == [(Verdict.CORRUPT, "torn", False)]


def test_the_subscription_that_the_window_lies_in_is_the_last_one_before_it() -> None:
    starts = [trade(after_ms, kind="start") for after_ms in (-9000, -5000, -7000, 99_000)]
    assert offsets(folded(stamped(*starts, trade(1)))) == [1, 4]
    assert offsets(folded(stamped(trade(1), trade(500, kind="start")))) == [0, 1]


def test_cumulative_volume_is_that_since_the_candle_before() -> None:
    def seen(after_ms: int, day_volume: int) -> Tick:
        return trade(after_ms, 1 + after_ms / 1e6, kind="snapshot", day_volume=day_volume)

    fold = folded(stamped(seen(-90_000, 100), seen(-70_000, 130), seen(1000, 150), seen(2000, 170)))
    assert fold.volume == "40"
    assert fold.baseline is not None
    assert (fold.baseline.cumulative, fold.baseline.offset) == (130, 1)


def test_the_first_topic_that_brings_a_symbol_is_its_own() -> None:
    fold = Fold(Window(SYMBOL, "1m", T0_MS), RULES)
    for topic in ("own", "other"):
        fold.add(topic, 0, Intake(stamped(trade(1)), EMPTY, []), {})
    fold.end(LATER_MS)
    assert [(each.place.topic, each.verdict) for each in fold.found] == [
        ("own", Verdict.ACCEPTED),
        ("other", Verdict.FOREIGN_TOPIC),
    ]


def test_differences_of_two_states_of_a_candle() -> None:
    ours = candle(0, vwap=1 / 3)
    assert differences(T0_MS, ours, replace(ours, vwap=1 / 3 + 1e-16)) == []
    assert differences(T0_MS, None, None) == []
    theirs = replace(ours, version=7, gap=True, close=1.5, volume=None)
    assert [(each.field, each.ours, each.theirs) for each in differences(T0_MS, ours, theirs)] == [
        ("close", "37000.3", "1.5"),
        ("volume", "12.00000001", "none"),
        ("version", "1", "7"),
        ("gap", "no", "yes"),
    ]
    assert [each.theirs for each in differences(T0_MS, replace(ours, trades=1), None)] == ["none"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [None, "dumb", "xterm"])
def test_text_shows_what_there_is_and_nothing_that_a_terminal_acts_upon(
    terminal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO() if terminal is None else Terminal()
    monkeypatch.setenv("TERM", terminal or "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(sys, "stdout", out)
    gap = trade(5, kind="gap", until=T0_MS + 9, cause="\x1b[31mred")
    fold = folded(stamped(trade(1, 2.5), gap))
    print_text(fold, Stored([Difference(T0_MS, "close", "2.5", "3.0")]))
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()]
    assert lines[2] == ["partition", "offset", "event", "received", "kind", "price", "size", "verdict"]
    assert lines[3][:5] == ["1", "0", "2023-11-14T22:14:00.001Z", "trade", "2.5"]
    assert lines[3][5:] == ["1", "accepted", "open,", "high,", "low,", "close"]
    assert lines[4][-4:] == ["accepted", "until", "2023-11-14T22:14:00.009Z,", "\\x1b[31mred"]
    assert lines[6] == ["2", "records:", "accepted", "2"]
    assert lines[8] == ["open", "2.5", "offset", "0"]
    assert lines[-2] == ["flags", "gap"]
    assert lines[-1] == ["clickhouse", "differs", "close:", "2.5", "here,", "3.0", "at", "ClickHouse"]


def test_json_is_one_object_also_without_a_candle() -> None:
    fold = folded(stamped(trade(1, -1)), stamped(trade(2, kind="quote"), first=1))
    told = json.loads(as_json(fold, None))
    assert told["candle"] is None
    assert [(each["kind"], each["verdict"]) for each in told["records"]] == [
        ("trade", "bad price"),
        ("quote", "accepted"),
    ]
    assert "clickhouse" not in told
    assert json.loads(as_json(fold, Stored(error="away")))["clickhouse"] == {
        "equal": False,
        "differences": [],
        "error": "away",
    }


@pytest.mark.parametrize(
    ("kept_ms", "said"),
    [
        (-1, "for ever"),
        (7 * DAY_MS, "for 7 days"),
        (3_600_000, "for 1 hour"),
        (90_000, "for 90 seconds"),
        (1, "for 1 millisecond"),
    ],
)
def test_retention_in_words(kept_ms: int, said: str) -> None:
    assert _kept(kept_ms) == said


def test_tables_of_text() -> None:
    assert list(aligned([("a", "b"), ("long", "")])) == ["a     b", "long"]
    assert plain("a\tb\x1b") == "a\\tb\\x1b"
