"""What is told of ingestion: lines in the log while it runs, why nothing comes if nothing does, a table at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Protocol, TextIO

from stockstream.broker.producer import TickProducer
from stockstream.core.allocation import ConnectionId
from stockstream.sources.contract import Feed
from stockstream.sources.status import Status

log = logging.getLogger(__name__)

_SYMBOLS_A_LINE = 8
_TABLE_WIDTH = 100
_SETTLE_MS = 5_000  # after which the venue has answered a subscription with the last known prices
_QUIET_MS = 10 * 60_000
_STEP_MS = 5 * 60_000
_LONGEST_MS = 16 * 86_400_000  # longer than any market is closed in a row


@dataclass(frozen=True, slots=True)
class _Line:
    """One symbol: records since the start, records a second lately, and how long ago the last tick came, in words."""

    symbol: str
    records: int
    rate: float
    age: str


class Report:
    """Counts, rates and ages of every symbol of one source, and the state of its connections and of Kafka.

    ``statuses`` are those of the connections that are open now: they may come and go, and `closed` is told of those
    that went. ``now_ms`` is the wall clock (epoch ms), ``steady_s`` measures rates.
    """

    def __init__(
        self,
        name: str,
        producer: TickProducer,
        statuses: Callable[[], Iterable[Status]],
        *,
        now_ms: Callable[[], int],
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._producer, self._statuses = name, producer, statuses
        self._now_ms, self._steady_s = now_ms, steady_s
        self._told: dict[str, int] = {}
        self._received_ms: dict[str, int] = {}
        self._reconnects = self._bad_frames = 0
        self.begin()

    def begin(self) -> None:
        """Measure rates from now on."""
        self._began_s = self._told_s = self._steady_s()

    def closed(self, status: Status) -> None:
        """Keep what a connection that is no more has counted."""
        self._reconnects += status.reconnects
        self._bad_frames += status.bad_frames
        for symbol, seen in status.symbols.items():
            self._received_ms[symbol] = max(seen.received_ms, self._received_ms.get(symbol, 0))

    def log(self) -> None:
        """Log the state since the last time, of the symbols that are watched now."""
        now_s = self._steady_s()
        lines = list(self._lines(self._watched(), now_s - self._told_s, self._told))
        self._told_s = now_s
        self._told = {symbol: count.accepted for symbol, count in self._producer.symbols.items()}
        log.info("%s: %s", self._name, self._summary(sum(line.rate for line in lines)))
        for first in range(0, len(lines), _SYMBOLS_A_LINE):
            log.info("%s", " | ".join(_text(line) for line in lines[first : first + _SYMBOLS_A_LINE]))

    def print_table(self, file: TextIO | None = None) -> None:
        """Print what became of every symbol over the whole run, and a last summary; nothing if there was none."""
        symbols = {**dict.fromkeys(self._producer.symbols, 0), **self._received_ms, **self._watched()}
        if not symbols:
            return
        from rich.console import Console
        from rich.table import Table

        console = Console(file=file)
        if not console.is_terminal:
            console = Console(file=file, width=_TABLE_WIDTH)
        table = Table(title=f"{self._name}: records of each symbol")
        for title in ("symbol", "records", "a second", "last tick", "shed"):
            table.add_column(title, justify="left" if title == "symbol" else "right")
        lines = list(self._lines(symbols, self._steady_s() - self._began_s, {}))
        for line in lines:
            count = self._producer.symbols.get(line.symbol)
            shed = count.shed if count else 0
            table.add_row(line.symbol, f"{line.records:,}", f"{line.rate:.2f}", line.age, f"{shed:,}")
        console.print(table)
        console.print(self._summary(sum(line.rate for line in lines)), highlight=False, soft_wrap=True)

    def _watched(self) -> dict[str, int]:
        """When the last tick of each symbol that is watched now came; 0 for none."""
        return {
            symbol: max(seen.received_ms, self._received_ms.get(symbol, 0))
            for status in self._statuses()
            for symbol, seen in status.symbols.items()
        }

    def _lines(self, symbols: Mapping[str, int], over_s: float, before: Mapping[str, int]) -> Iterator[_Line]:
        now_ms = self._now_ms()
        for symbol, received_ms in symbols.items():
            count = self._producer.symbols.get(symbol)
            records = count.accepted if count else 0
            rate = (records - before.get(symbol, 0)) / over_s if over_s > 0 else 0.0
            age = f"{max(0, now_ms - received_ms) / 1000:.1f} s ago" if received_ms else "never"
            yield _Line(symbol, records, rate, age)

    def _summary(self, rate: float) -> str:
        states = list(self._statuses())
        counts, latency = self._producer.counts, self._producer.latency
        parts = [
            f"{counts.acknowledged:,} of {counts.accepted:,} records written to {self._producer.topic}",
            f"{rate:.1f} a second",
            f"{self._reconnects + sum(status.reconnects for status in states)} reconnects",
            f"{self._bad_frames + sum(status.bad_frames for status in states)} bad frames",
            f"{counts.shed:,} shed",
        ]
        if states:
            streaming = sum(status.state == "streaming" for status in states)
            parts.insert(2, f"{streaming} of {len(states)} connections streaming")
        parts += sorted({trouble for status in states for trouble in status.troubles})
        if counts.refused:
            parts.append(f"{counts.refused:,} control records and quotes left out, which tick_schema=1 cannot carry")
        if (p50_ms := latency.percentile_ms(50)) is not None:
            parts.append(f"acknowledged within {p50_ms:g} ms (p50), {latency.percentile_ms(99):g} ms (p99)")
        if self._producer.trouble is not None:
            parts.append(self._producer.trouble)
        return ", ".join(parts)


class Connected(Protocol):
    """A connection as its runner shows it."""

    feed: Feed
    status: Status


class Reporter:
    """What one worker says of the connections that it has open, and nothing while it has none.

    ``reports`` by source are logged every ``every_s`` from `started` on.
    """

    def __init__(
        self,
        reports: Mapping[str, Report],
        every_s: float,
        *,
        now_ms: Callable[[], int],
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports, self._every_s, self._now_ms, self._steady_s = reports, every_s, now_ms, steady_s
        self._next_s = inf
        self._is_told_closed = False

    def started(self, subscribed: int) -> None:
        """The worker begins, with so many symbols subscribed: say what to do if there are none."""
        self._next_s = self._steady_s() + self._every_s
        for report in self._reports.values():
            report.begin()
        if not subscribed:
            log.info("no symbols are subscribed: set SYMBOLS=AAPL,BTC-USD, or `stockstream subscribe AAPL`")

    def look(self, held: Mapping[ConnectionId, Connected]) -> None:
        """Tell what is due of the connections held now; to be called every second or more often."""
        self._tell_closed(list(held.values()))
        now_s = self._steady_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        for source in sorted({connection.source for connection in held}):
            self._reports[source].log()

    def closed(self, connection: ConnectionId, status: Status) -> None:
        """A connection is no more."""
        self._reports[connection.source].closed(status)

    def print_tables(self, file: TextIO | None) -> None:
        """Print every source's table."""
        for report in self._reports.values():
            report.print_table(file)

    def _tell_closed(self, connected: Sequence[Connected]) -> None:
        """Say once, when all that is watched is closed, when it opens: nothing is wrong if nothing comes.

        A feed's hours are those in which its symbols are surely traded; outside of them the newest tick decides.
        """
        now_ms = self._now_ms()
        if any(each.feed.is_open(now_ms) for each in connected):
            self._is_told_closed = False
            return
        if self._is_told_closed or not connected or not all(_is_settled(each.status, now_ms) for each in connected):
            return
        watched = [seen for each in connected for seen in each.status.symbols.values()]
        if max((seen.event_ms for seen in watched), default=0) > now_ms - _QUIET_MS:
            return
        self._is_told_closed = True
        at_ms = _opens_ms([each.feed for each in connected], now_ms)
        if at_ms is not None:
            log.info(
                "the markets of all symbols watched here are closed: the first opens by %s",
                datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%A %Y-%m-%d %H:%M UTC"),
            )


def _is_settled(status: Status, now_ms: int) -> bool:
    return status.state == "streaming" and now_ms - status.since_ms >= _SETTLE_MS


def _opens_ms(feeds: Iterable[Feed], now_ms: int) -> int | None:
    """The first time soon at which any feed is open; None if none says so."""
    first_ms = now_ms - now_ms % _STEP_MS + _STEP_MS
    times_ms = range(first_ms, first_ms + _LONGEST_MS, _STEP_MS)
    return min((at_ms for feed in feeds if (at_ms := next(filter(feed.is_open, times_ms), None))), default=None)


def _text(line: _Line) -> str:
    return f"{line.symbol} {line.records} {line.rate:.1f}/s {line.age}"
