"""Whether every candle of a system is right, in every place where it can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from load import SYMBOLS
from oracle import Expected, Key, difference_of
from places import Found, by_changelog, by_sql, by_tables, rows_in_store

from stockstream.core.interval import INTERVALS_MS
from stockstream.testing.system import System, WorkerProcess

EQUAL = "equal"
Expectation = Mapping[Key, Expected]


def judge_running(system: System, worker: WorkerProcess, expected: Expectation) -> dict[str, str]:
    """By place but ClickHouse what is wrong, or `EQUAL`; a worker is asked for the tables of the whole group."""
    places: dict[str, Callable[[], Found]] = {
        "tables": lambda: by_tables(worker, SYMBOLS),
        "topic candles": system.candles_topic,
        "changelogs, last in the log": lambda: by_changelog(system, in_log_order=True),
        "changelogs, newest": lambda: by_changelog(system, in_log_order=False),
    }
    return {place: _verdict(expected, find) for place, find in places.items()}


def judge_clickhouse(system: System, expected: Expectation) -> dict[str, str]:
    """The same of ClickHouse."""
    return {"ClickHouse": _verdict(expected, lambda: by_sql(system))}


def _verdict(expected: Expectation, find: Callable[[], Found]) -> str:
    try:
        return difference_of(expected, find()) or EQUAL
    except AssertionError as error:  # a candle is there twice, or cannot be read
        return str(error)


def judge_cold(system: System, expected: Expectation) -> dict[str, str]:
    """The same of a worker that recovers everything into an empty folder; all others must have ended."""
    cold = system.start("cold")
    difference = difference_of(expected, by_tables(cold, SYMBOLS))
    cold.stop()
    places = {"recovered into an empty folder": difference or EQUAL}
    for interval in INTERVALS_MS:
        logged = {at: row.encode() for at, row in system.changelog(interval).items()}
        if rows_in_store(Path(cold.data), interval) != logged:
            places[f"recovered rows of {interval}"] = "the store differs from the changelog"
    return places
