"""What is told of ingestion, at times that the tests choose."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.ingest_report import Report, Reporter
from stockstream.broker.latency import Latency
from stockstream.broker.producer import Counts
from stockstream.core.allocation import ConnectionId
from stockstream.sources.contract import Feed
from stockstream.sources.status import Status, SymbolStatus
from stockstream.sources.yahoo.feed import YahooFeed

SECOND_MS, HOUR_MS, DAY_MS = 1000, 3_600_000, 86_400_000
MONDAY_MS = 1_763_337_600_000  # 2025-11-17 00:00 UTC
SATURDAY_MS = MONDAY_MS + 5 * DAY_MS
FIRST, SECOND = ConnectionId("yahoo", 0), ConnectionId("yahoo", 1)


class Clock:
    """Wall and steady time, that pass only when they are told to."""

    def __init__(self, now_ms: int) -> None:
        self.began_ms = self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def steady_s(self) -> float:
        return (self.ms - self.began_ms) / 1000


class Producer:
    """What a report asks of a producer."""

    def __init__(self) -> None:
        self.topic, self.counts, self.latency, self.trouble = "yfinance", Counts(), Latency(), None
        self.symbols: dict[str, Any] = {}

    def take(self, symbol: str, records: int, shed: int = 0) -> None:
        count = self.symbols.setdefault(symbol, SimpleNamespace(accepted=0, shed=0))
        count.accepted += records
        count.shed += shed
        self.counts.accepted += records


@dataclass
class Connection:
    """A connection as its runner shows it."""

    feed: Feed
    status: Status = field(default_factory=Status)


def connection(symbols: Sequence[str], since_ms: int, event_ms: int = 0) -> Connection:
    """One that streams since then, whose newest ticks are of ``event_ms``."""
    feed = YahooFeed("ws://nowhere")
    feed.subscribe(symbols, since_ms)
    seen = {symbol: SymbolStatus(1, event_ms, since_ms) for symbol in symbols}
    return Connection(feed, Status("streaming", since_ms, connections=1, symbols=seen))


class Scene:
    """A worker's reporter with one source, whose connections are in ``held``."""

    def __init__(self, now_ms: int, every_s: float = 60.0) -> None:
        self.clock, self.producer = Clock(now_ms), Producer()
        self.held: dict[ConnectionId, Connection] = {}
        statuses = lambda: [each.status for each in self.held.values()]  # noqa: E731
        times: Any = {"now_ms": self.clock.now_ms, "steady_s": self.clock.steady_s}
        producer: Any = self.producer
        self.report = Report("yahoo", producer, statuses, **times)
        self.reporter = Reporter({"yahoo": self.report}, every_s, **times)

    def run(self, until_ms: int, step_ms: int = 250) -> None:
        while self.clock.ms < until_ms:
            self.clock.ms += step_ms
            self.reporter.look(dict(self.held))

    def close(self, name: ConnectionId) -> None:
        self.reporter.closed(name, self.held.pop(name).status)

    def table(self) -> str:
        file = io.StringIO()
        self.reporter.print_tables(file)
        return file.getvalue()


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_counts_rates_and_ages_are_told_every_interval(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(MONDAY_MS + 15 * HOUR_MS)
    scene.clock.ms += 20 * SECOND_MS  # which the worker took to come up
    scene.reporter.started(2)
    start_ms = scene.clock.ms
    scene.held[FIRST] = connection(["AAPL", "MSFT"], start_ms, start_ms)
    scene.held[FIRST].status.symbols["MSFT"] = SymbolStatus()
    scene.producer.take("AAPL", 120)
    scene.held[FIRST].status.symbols["AAPL"].received_ms = start_ms + 58_500
    scene.run(start_ms + 59_750)
    assert caplog.messages == []
    scene.run(start_ms + 60_000)
    assert caplog.messages == [
        "yahoo: 0 of 120 records written to yfinance, 2.0 a second, 1 of 1 connections streaming, 0 reconnects, "
        "0 bad frames, 0 shed",
        "AAPL 120 2.0/s 1.5 s ago | MSFT 0 0.0/s never",
    ]
    scene.producer.take("AAPL", 30)
    scene.run(start_ms + 120_000)
    assert caplog.messages[2].startswith("yahoo: 0 of 150 records written to yfinance, 0.5 a second, ")
    assert caplog.messages[3] == "AAPL 150 0.5/s 61.5 s ago | MSFT 0 0.0/s never"


def test_three_hundred_symbols_are_told_eight_a_line(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(MONDAY_MS + 15 * HOUR_MS)
    symbols = [f"SYMBOL{n:03d}" for n in range(300)]
    for number in range(3):
        watched = symbols[100 * number : 100 * number + 100]
        scene.held[ConnectionId("yahoo", number)] = connection(watched, scene.clock.ms)
    scene.report.log()
    head, *lines = caplog.messages
    assert "3 of 3 connections streaming" in head
    assert [line.count(" | ") + 1 for line in lines] == [8] * 37 + [4]
    assert [text.split()[0] for line in lines for text in line.split(" | ")] == symbols
    assert max(map(len, lines)) < 250


def test_counts_outlive_the_connection_that_they_came_over(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(MONDAY_MS + 15 * HOUR_MS)
    began_ms = scene.clock.ms
    scene.held = {FIRST: connection(["AAPL"], began_ms), SECOND: connection(["MSFT"], began_ms)}
    scene.held[SECOND].status.connections = 3
    scene.held[SECOND].status.bad_frames = 2
    scene.producer.take("AAPL", 10)
    scene.producer.take("MSFT", 20, shed=7)
    scene.close(SECOND)
    scene.clock.ms += 10 * SECOND_MS
    scene.report.log()
    assert "1 of 1 connections streaming, 2 reconnects, 2 bad frames" in caplog.messages[0]
    assert caplog.messages[1] == "AAPL 10 1.0/s 10.0 s ago"
    scene.held[SECOND] = connection(["MSFT"], scene.clock.ms)
    scene.producer.take("MSFT", 5)
    scene.clock.ms += SECOND_MS
    scene.report.log()
    assert caplog.messages[3] == "AAPL 10 0.0/s 11.0 s ago | MSFT 25 5.0/s 1.0 s ago"
    scene.close(FIRST)
    scene.close(SECOND)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in scene.table().splitlines() if "│" in line]
    assert "connections" not in scene.table()
    assert rows == [["AAPL", "10", "0.91", "11.0 s ago", "0"], ["MSFT", "25", "2.27", "1.0 s ago", "7"]]


def test_the_table_ends_with_the_sum_and_with_what_is_wrong() -> None:
    scene = Scene(MONDAY_MS)
    scene.held[FIRST] = connection(["AAPL"], MONDAY_MS)
    scene.producer.take("AAPL", 10)
    scene.producer.counts.acknowledged, scene.producer.counts.refused = 4, 2
    scene.producer.latency.add(0.004)
    trouble: Any = "Kafka takes nothing"
    scene.producer.trouble = trouble
    last = scene.table().splitlines()[-1]
    assert last.startswith("4 of 10 records written to yfinance, ")
    assert "2 control records and quotes left out" in last
    assert "ms (p50)" in last
    assert last.endswith("Kafka takes nothing")


def test_who_watches_nothing_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(SATURDAY_MS)
    scene.run(SATURDAY_MS + HOUR_MS, 10_000)
    assert caplog.messages == []
    assert scene.table() == ""


def test_a_start_without_symbols_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(MONDAY_MS)
    scene.reporter.started(1)
    assert caplog.messages == []
    scene.reporter.started(0)
    assert caplog.messages == ["no symbols are subscribed: set SYMBOLS=AAPL,BTC-USD, or `stockstream subscribe AAPL`"]


def closed_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "closed" in line]


def test_on_a_weekend_one_line_says_when_the_markets_open(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(SATURDAY_MS, every_s=1e9)
    friday_ms = SATURDAY_MS - 3 * HOUR_MS
    scene.held[FIRST] = connection(["AAPL", "MSFT"], SATURDAY_MS, friday_ms)
    scene.held[SECOND] = connection(["NVDA"], SATURDAY_MS, friday_ms)
    scene.run(SATURDAY_MS + 4 * SECOND_MS)
    assert closed_lines(caplog) == []  # the last known prices are still on their way
    scene.run(SATURDAY_MS + HOUR_MS, 10_000)
    assert closed_lines(caplog) == [
        "the markets of all symbols watched here are closed: the first opens by Monday 2025-11-24 14:30 UTC"
    ]
    scene.run(SATURDAY_MS + 2 * DAY_MS + 15 * HOUR_MS, 60_000)  # on Monday they are open
    scene.run(SATURDAY_MS + 3 * DAY_MS, 60_000)
    assert len(closed_lines(caplog)) == 2
    assert "Tuesday 2025-11-25 14:30 UTC" in closed_lines(caplog)[1]


@pytest.mark.parametrize(
    ("symbols", "now_ms", "event_ms"),
    [
        (["AAPL", "BTC-USD"], SATURDAY_MS, SATURDAY_MS - HOUR_MS),  # some market is open
        (["^GSPC"], SATURDAY_MS, SATURDAY_MS - HOUR_MS),  # nobody knows its hours
        (["AAPL"], MONDAY_MS + 21 * HOUR_MS, MONDAY_MS + 21 * HOUR_MS + 9_000),  # it is traded all the same
    ],
)
def test_markets_that_are_not_known_to_be_closed_are_not_said_to_be(
    caplog: pytest.LogCaptureFixture, symbols: list[str], now_ms: int, event_ms: int
) -> None:
    scene = Scene(now_ms, every_s=1e9)
    scene.held[FIRST] = connection(symbols, now_ms, event_ms)
    scene.run(now_ms + 10_000)
    assert closed_lines(caplog) == []


@pytest.mark.parametrize("state", ["connecting", "waiting", "failed"])
def test_a_connection_that_is_not_there_says_nothing_of_markets(caplog: pytest.LogCaptureFixture, state: Any) -> None:
    scene = Scene(SATURDAY_MS, every_s=1e9)
    scene.held[FIRST] = connection(["AAPL"], SATURDAY_MS, SATURDAY_MS - HOUR_MS)
    scene.held[FIRST].status.state = state
    scene.run(SATURDAY_MS + HOUR_MS, 10_000)
    assert closed_lines(caplog) == []


def test_what_is_wrong_with_a_connection_is_in_the_summary(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene(MONDAY_MS + 15 * HOUR_MS)
    scene.held[FIRST] = connection(["AAPL"], scene.clock.ms)
    scene.held[FIRST].status.state, scene.held[FIRST].status.detail = "failed", "this address is banned"
    scene.report.log()
    assert "0 of 1 connections streaming" in caplog.text
    assert "this address is banned" in caplog.text
