"""A changelog that the broker has compacted: the tables recovered from it are those that were."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from load import SYMBOLS, expectation, last_trades, market
from oracle import assert_candles
from places import by_changelog, by_tables, rows_in_store

from stockstream.core.interval import INTERVALS_MS
from stockstream.models import Tick
from stockstream.tables import table_name
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

PARTS = 8
TICKS_A_PART = 400
COMPACTION_S = 90
EAGER = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "1000"}


@pytest.fixture
def system(registry: RegistryServer) -> Iterator[System]:
    with (
        KafkaCluster(kafka_libs(), settings={"log.cleaner.backoff.ms": "200"}) as kafka,
        System(kafka.bootstrap, registry.url, "http://127.0.0.1:1", partitions="1", sink_enabled="false") as made,
    ):
        yield made


def changelogs(system: System) -> list[str]:
    return [f"{system.id}-{table_name(interval)}-changelog" for interval in INTERVALS_MS]


def is_compacted(system: System, name: str) -> bool:
    """Whether most of what was written is gone from the log."""
    return 2 * len(system.topics.read(name)) < system.topics.end_offsets(name)[0]


@pytest.mark.timeout(400)
def test_compaction_brings_no_older_row_back(system: System) -> None:
    system.start()
    for name in changelogs(system):
        for setting, value in EAGER.items():
            system.topics.configure(name, setting, value)
    ticks = market(seed=11, count=PARTS * TICKS_A_PART)
    parts: list[list[Tick]] = [list(islice(ticks, TICKS_A_PART)) for _ in range(PARTS)]
    for number, part in enumerate(parts[:-1]):
        system.produce(part)
        if number in (2, 4):  # its successor sends rows of before again, behind newer ones
            system.kill()
            system.start()
        system.wait_drained(sink=False)
    for name in changelogs(system):
        wait_until(lambda name=name: is_compacted(system, name), COMPACTION_S, f"the compaction of {name}")  # type: ignore[misc]  # mypy knows no lambda with a default
    system.kill(wipe=True)

    cold = system.start()
    system.produce(parts[-1])  # rows that had gone back would lack ticks now, for good
    system.produce(last_trades())
    system.wait_drained(sink=False)
    expected = expectation(system)
    assert_candles(expected, by_tables(cold, SYMBOLS), "the tables recovered from compacted changelogs")
    assert_candles(expected, by_changelog(system, in_log_order=True), "the changelogs in the order of their logs")
    cold.stop()
    assert cold.exit_code == 0
    for interval in INTERVALS_MS:
        logged = {at: row.encode() for at, row in system.changelog(interval, in_log_order=True).items()}
        assert rows_in_store(Path(cold.data), interval) == logged
