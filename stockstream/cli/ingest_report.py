"""What a producer tells of its work: lines in the log while it runs, a table at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from stockstream.broker.producer import TickProducer
from stockstream.sources.runner import ConnectionRunner

log = logging.getLogger(__name__)

_SYMBOLS_A_LINE = 8
_TABLE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class _Line:
    """One symbol: ticks since the start, ticks a second lately, seconds since the last one (None: there was none)."""

    symbol: str
    ticks: int
    rate: float
    age_s: float | None


class Report:
    """Counts, rates and ages of every symbol, and the state of connections and of Kafka."""

    def __init__(
        self, name: str, runners: Sequence[ConnectionRunner], producer: TickProducer, now_ms: Callable[[], int]
    ) -> None:
        self._name, self._runners, self._producer, self._now_ms = name, runners, producer, now_ms
        self._began_s = self._told_s = time.monotonic()
        self._told: dict[str, int] = {}

    def log(self) -> None:
        """Log the state since the last time."""
        lines = list(self._lines(time.monotonic() - self._told_s, self._told))
        self._told_s, self._told = time.monotonic(), {line.symbol: line.ticks for line in lines}
        log.info("%s: %s", self._name, self._summary(sum(line.rate for line in lines)))
        for first in range(0, len(lines), _SYMBOLS_A_LINE):
            log.info("%s", " | ".join(_text(line) for line in lines[first : first + _SYMBOLS_A_LINE]))

    def print_table(self) -> None:
        """Print what became of every symbol over the whole run, and a last summary."""
        console = Console()
        if not console.is_terminal:
            console = Console(width=_TABLE_WIDTH)
        table = Table(title=f"{self._name}: ticks received")
        for title in ("symbol", "ticks", "a second", "last, s ago", "shed"):
            table.add_column(title, justify="left" if title == "symbol" else "right")
        ran_s = time.monotonic() - self._began_s
        lines = list(self._lines(ran_s, {}))
        for line in lines:
            count = self._producer.symbols.get(line.symbol)
            age = "never" if line.age_s is None else f"{line.age_s:.1f}"
            table.add_row(line.symbol, f"{line.ticks:,}", f"{line.rate:.2f}", age, f"{count.shed if count else 0:,}")
        console.print(table)
        console.print(self._summary(sum(line.rate for line in lines)), highlight=False, soft_wrap=True)

    def _lines(self, over_s: float, before: dict[str, int]) -> Iterator[_Line]:
        now_ms = self._now_ms()
        for runner in self._runners:
            for symbol, seen in runner.status.symbols.items():
                rate = (seen.ticks - before.get(symbol, 0)) / over_s if over_s > 0 else 0.0
                age_s = max(0, now_ms - seen.received_ms) / 1000 if seen.ticks else None
                yield _Line(symbol, seen.ticks, rate, age_s)

    def _summary(self, rate: float) -> str:
        states = [runner.status for runner in self._runners]
        counts, latency = self._producer.counts, self._producer.latency
        parts = [
            f"{counts.acknowledged:,} of {counts.accepted:,} records written to {self._producer.topic}",
            f"{rate:.1f} ticks/s",
            f"{sum(status.state == 'streaming' for status in states)} of {len(states)} connections streaming",
            f"{sum(status.reconnects for status in states)} reconnects",
            f"{sum(status.bad_frames for status in states)} bad frames",
            f"{counts.shed:,} shed",
        ]
        if counts.refused:
            parts.append(f"{counts.refused:,} control records and quotes left out, which tick_schema=1 cannot carry")
        if (p50_ms := latency.percentile_ms(50)) is not None:
            parts.append(f"acknowledged within {p50_ms:g} ms (p50), {latency.percentile_ms(99):g} ms (p99)")
        if self._producer.trouble is not None:
            parts.append(self._producer.trouble)
        return ", ".join(parts)


def _text(line: _Line) -> str:
    age = "never" if line.age_s is None else f"{line.age_s:.1f} s ago"
    return f"{line.symbol} {line.ticks} {line.rate:.1f}/s {age}"
