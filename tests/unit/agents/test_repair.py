"""Which holes are repaired when, and what is written for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.repair import Prospects, Repairer
from stockstream.broker.producer import Counts
from stockstream.errors import HistoryFailed
from stockstream.models import Tick
from stockstream.models.gap import Gap

NOW_MS = 1_700_000_000_000


def gap(symbol: str = "N:A", ago_s: int = 60, source: str = "n", place: int = 1, **other: Any) -> Gap:
    from_ms = NOW_MS - 1000 * ago_s
    return Gap(symbol, source, from_ms, from_ms + 10_000, "silent", place, NOW_MS, **other)


class Ledger:
    def __init__(self, *gaps: Gap) -> None:
        self.follower = SimpleNamespace(ready=True)
        self.gaps = list(gaps)
        self.failures: list[str] = []

    def open(self) -> list[Gap]:
        return self.gaps

    async def failed(self, gap: Gap, reason: str) -> None:
        self.failures.append(reason)


class Emitter:
    """Keeps what it is given; ``sheds`` as many of it."""

    def __init__(self) -> None:
        self.counts, self.sent, self.is_flushed, self.sheds = Counts(), list[Tick](), True, 0

    async def send(self, ticks: Sequence[Tick]) -> None:
        self.sent += ticks
        self.counts.shed += self.sheds

    async def flush(self, timeout_s: float) -> bool:
        return self.is_flushed


class History:
    name, depth_ms = "n", 3_600_000

    def __init__(self) -> None:
        self.pages = [[Tick("N:A", NOW_MS - 55_000, 1.0, trade_id=n)] for n in (1, 2)]
        self.failure: Exception | None = None
        self.asked: list[tuple[str, int, int]] = []

    async def trades(self, symbol: str, from_ms: int, until_ms: int) -> AsyncIterator[list[Tick]]:
        self.asked.append((symbol, from_ms, until_ms))
        for page in self.pages:
            yield page
        if self.failure is not None:
            raise self.failure


class Scene:
    def __init__(self, *gaps: Gap) -> None:
        self.now_ms = NOW_MS
        self.ledger, self.history, self.emitter = Ledger(*gaps), History(), Emitter()
        self.repairer = Repairer(
            self.ledger, {"n": self.history}, {"n": self.emitter}, partition_of=lambda key: key[-1],
            owned=lambda: set(b"AB"), now_ms=lambda: self.now_ms,
        )  # type: ignore[arg-type]  # fmt: skip


def test_the_newest_hole_of_ours_comes_first() -> None:
    newest, other = gap(ago_s=40, place=2), gap(symbol="N:B", ago_s=90)
    scene = Scene(other, newest, gap(symbol="N:Z", ago_s=30), gap(source="yahoo", ago_s=31))
    assert scene.repairer.due() == [newest, other]


def test_a_hole_that_has_just_ended_waits_until_the_history_knows_of_it() -> None:
    scene = Scene(gap(ago_s=11))
    assert scene.repairer.due() == []
    scene.now_ms += 5000
    assert scene.repairer.due() != []


def test_nothing_is_done_before_the_ledger_was_read() -> None:
    scene = Scene(gap())
    scene.ledger.follower.ready = False
    assert scene.repairer.due() == []


async def test_the_trades_come_first_and_then_the_record_that_none_is_missing() -> None:
    hole = gap()
    scene = Scene(hole)
    assert await scene.repairer.repair(hole)
    *trades, record = scene.emitter.sent
    assert [tick.trade_id for tick in trades] == [1, 2]
    assert (record.kind, record.symbol, record.event_time, record.until) == (
        "repair",
        "N:A",
        hole.from_ms,
        hole.until_ms,
    )
    assert record.cause == "2 trades from the history of n"
    (asked,) = scene.history.asked
    assert asked[1] < hole.from_ms
    assert asked[2] > hole.until_ms
    assert scene.repairer.due() == [], "it is not done again while the record is under way"


@pytest.mark.parametrize("trouble", ["history", "network", "bug", "flush", "shed"])
async def test_a_failed_repair_says_nothing_in_the_log_and_is_tried_later(trouble: str) -> None:
    hole = gap()
    scene = Scene(hole)
    if trouble == "history":
        scene.history.failure = HistoryFailed("HTTP 503")
    if trouble == "network":
        scene.history.failure = ConnectionRefusedError("refused")
    if trouble == "bug":
        scene.history.failure = KeyError("price")
    scene.emitter.is_flushed = trouble != "flush"
    scene.emitter.sheds = int(trouble == "shed")
    assert not await scene.repairer.repair(hole)
    assert all(tick.kind == "trade" for tick in scene.emitter.sent)
    assert len(scene.ledger.failures) == 1
    assert scene.repairer.due() == []
    scene.now_ms += 5000
    assert scene.repairer.due() == [hole]


async def test_a_hole_that_fails_does_not_hold_up_the_others() -> None:
    bad, good = gap(ago_s=40, place=2), gap(symbol="N:B", ago_s=90)
    scene = Scene(bad, good)
    scene.history.failure = HistoryFailed("HTTP 503")
    assert not await scene.repairer.repair(bad)
    assert scene.repairer.due() == [good]


async def test_the_same_failure_is_told_once() -> None:
    hole = gap(reason="HTTP 503")
    scene = Scene(hole)
    scene.history.failure = HistoryFailed("HTTP 503")
    assert not await scene.repairer.repair(hole)
    assert scene.ledger.failures == []


@pytest.mark.parametrize(
    ("hole", "reason"),
    [
        (gap(), None),
        (gap(source="yahoo"), "yahoo tells no trades of the past"),
        (gap(ago_s=3601), "older than what n tells of the past"),
        (gap(ago_s=1801), "older than retention_s: its candles are no longer open to change"),
    ],
)
def test_what_cannot_be_repaired_says_why(hole: Gap, reason: str | None) -> None:
    retention_ms = 1_800_000 if hole.from_ms > NOW_MS - 3_600_000 else 7_200_000
    assert Prospects({"n": History()}, retention_ms, lambda: NOW_MS).hopeless(hole) == reason
