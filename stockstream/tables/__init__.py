"""The tables that the worker keeps: candle rows in three tumbling windows, and the latest price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stockstream.core.interval import INTERVALS_MS
from stockstream.core.row import row_is_newer

ROCKSDB_OPTIONS = {
    "write_buffer_size": 8 << 20,
    "block_cache_size": 16 << 20,
    "bloom_filter_size": 10,
    "driver": "rocksdict",
}
"""A table has one database a partition; the defaults (64 MB × 3 and a 2 GiB cache each) are meant for one.

With the 3 bits a key that are Faust's default, RocksDB looks into every fourth file for a row that it does not hold.
"""

LATEST = "latest"
SUBSCRIPTIONS = "subscriptions"


@dataclass(frozen=True, slots=True)
class Tables:
    """Faust's tables: ``candles`` by interval, each a window wrapper; ``latest`` and ``subscriptions`` by symbol."""

    candles: dict[str, Any]
    latest: Any
    subscriptions: Any

    @property
    def names(self) -> list[str]:
        """The names of the tables that are made of ticks."""
        return [*(table_name(interval) for interval in self.candles), LATEST]

    @property
    def changelogs(self) -> list[str]:
        """The topic of every table's changes."""
        tables = [*(wrapper.table for wrapper in self.candles.values()), self.latest, self.subscriptions]
        return [table.changelog_topic_name for table in tables]

    def is_newer(self, latest_is_newer: Callable[[bytes, bytes], bool]) -> Callable[[str], Any]:
        """For a changelog topic: which of two states of a row recovery keeps."""
        newer: dict[str, Callable[[bytes, bytes], bool]] = {
            wrapper.table.changelog_topic_name: row_is_newer for wrapper in self.candles.values()
        }
        newer[self.latest.changelog_topic_name] = latest_is_newer
        return newer.get


def table_name(interval: str) -> str:
    """Name of the table of an interval's candles."""
    return f"candles_{interval}"


def changelogs_of(app_id: str) -> list[str]:
    """As `Tables.changelogs`, of an app that is not made."""
    names = [*map(table_name, INTERVALS_MS), LATEST, SUBSCRIPTIONS]
    return [f"{app_id}-{name}-changelog" for name in names]


def declare(app: Any, partitions: int) -> Tables:
    """Declare the tables on a Faust app; nothing is opened yet. Rows never expire by the wall clock."""
    candles = {
        interval: app.Table(
            table_name(interval), partitions=partitions, value_type=bytes, options=dict(ROCKSDB_OPTIONS)
        ).tumbling(length_ms / 1000)
        for interval, length_ms in INTERVALS_MS.items()
    }
    plain = {
        name: app.Table(name, partitions=partitions, key_type=bytes, value_type=bytes, options=dict(ROCKSDB_OPTIONS))
        for name in (LATEST, SUBSCRIPTIONS)
    }
    return Tables(candles, plain[LATEST], plain[SUBSCRIPTIONS])
