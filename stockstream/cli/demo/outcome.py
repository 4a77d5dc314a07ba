"""What a demonstration leaves behind: its candles and ticks, counted by SQL."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
from rich.table import Table

_CANDLES = """
SELECT c.interval, uniqExact(c.symbol), count(), countIf(c.is_closed), sum(c.volume)
FROM stockstream.candles AS c GROUP BY c.interval ORDER BY min(c.window_end - c.window_start)
"""
_MADE = "SELECT count() FROM system.tables WHERE database = 'stockstream' AND name IN ('candles', 'ticks')"
_TICKS = "SELECT count() FROM stockstream.ticks FINAL"


@dataclass(frozen=True, slots=True)
class Outcome:
    """By interval: symbols, candles, closed ones, volume; and how many ticks were archived."""

    candles: list[tuple[str, int, int, int, float]]
    ticks: int

    def table(self) -> Table:
        """For a terminal."""
        table = Table("candles", box=None)
        for name in ("symbols", "all", "closed", "volume"):
            table.add_column(name, justify="right")
        for interval, symbols, count, closed, volume in self.candles:
            table.add_row(interval, f"{symbols:,}", f"{count:,}", f"{closed:,}", f"{volume:,.2f}")
        return table


def warm_up() -> None:
    """Load the engine, which takes a second: to be done while something else is waited for."""
    importlib.import_module("chdb")


def outcome_of(folder: Path) -> Outcome:
    """Count what is in a folder of the embedded ClickHouse that nobody has open: nothing if it has no tables."""
    client = clickhouse_connect.get_client(interface="chdb", path=str(folder))
    try:
        if client.query(_MADE).result_rows != [(2,)]:
            return Outcome([], 0)
        ((ticks,),) = client.query(_TICKS).result_rows
        return Outcome([tuple(row) for row in client.query(_CANDLES).result_rows], ticks)
    finally:
        client.close()
