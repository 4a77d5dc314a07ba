"""A tick topic is not what the candles were made of any more: refused, until the user says how to go on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewPartitions

from stockstream.models import Candle, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.topics import admin_client
from stockstream.testing.wait import wait_until

SYMBOL = "BINANCE:XRPETH"
T0_MS = 1_700_000_100_000  # the start of five minutes
STOP_S = 20  # on a busy machine; else about two


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse.url, partitions="1", close_delay_s="0") as made:
        yield made


def trades(count: int, price: float, first_id: int = 1) -> list[Tick]:
    """One a second, of size 1."""
    return [
        Tick(SYMBOL, T0_MS + n * 1000, price + n, 1.0, trade_id=first_id + n, source="binance") for n in range(count)
    ]


def end(worker: WorkerProcess, number: signal.Signals) -> list[str]:
    """What a worker logs while it stops, as it must: soon, by itself, with its counts."""
    before = len(worker.log.read_text())
    os.kill(worker.pid, number)
    wait_until(lambda: worker.exit_code is not None, STOP_S, f"the worker to stop after {number.name}")
    assert worker.exit_code == 0
    text = worker.log.read_text()
    assert "Traceback" not in text
    return text[before:].splitlines()


def refusal(system: System, **settings: str) -> str:
    """The one line with which a worker ends that is started now."""
    worker = system.start("refused", wait=False, **settings)
    wait_until(lambda: worker.exit_code is not None, 20, "the worker to end")
    assert worker.exit_code == 1
    text = worker.log.read_text()
    assert "Traceback" not in text
    (line,) = re.findall(r"^stockstream: .*$", text, re.MULTILINE)
    worker.log.unlink()
    return str(line)


def committed(system: System) -> int:
    """The group's offset in the only partition; negative for none."""
    place = TopicPartition(system.topic("yfinance"), 0)
    consumer = Consumer({"bootstrap.servers": system.bootstrap, "group.id": system.id})
    try:
        (found,) = consumer.committed([place], timeout=30)
        return int(found.offset)
    finally:
        consumer.close()


def commit(system: System, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": system.bootstrap, "group.id": system.id})
    try:
        consumer.commit(offsets=[TopicPartition(system.topic("yfinance"), 0, offset)], asynchronous=False)
    finally:
        consumer.close()


def create_anew(system: System) -> None:
    system.topics.delete(system.topic("yfinance"))
    system.topics.create(system.topic("yfinance"), 1)


def published(system: System, minute: int) -> Candle:
    return system.candles_topic()[SYMBOL, "1m", "regular", T0_MS + minute * 60_000]


def test_a_topic_created_anew_needs_a_new_epoch(system: System) -> None:
    worker = system.start("refused")
    system.produce(trades(180, 100.0))
    system.wait_drained(60)
    wait_until(lambda: published(system, 2).is_closed, 30, "the last minute to be closed")
    assert any(line.endswith("ticks: 180 accepted") for line in map(str.strip, end(worker, signal.SIGTERM)))
    worker.log.unlink()
    old = published(system, 2)

    create_anew(system)
    system.produce(trades(100, 500.0, first_id=1000))
    line = refusal(system)
    assert "ends at offset 100, but candles were made of its offset 179" in line
    assert "set STOCKSTREAM_EPOCH to 1" in line
    assert committed(system) < 0
    assert published(system, 2) == old

    worker = system.start("refused", epoch="1")
    system.wait_drained(60)
    # The new log has trades of the first two minutes; the third one's candle stays.
    first, second = published(system, 0), published(system, 1)
    assert (first.open, first.high, first.low, first.volume) == (100.0, 559.0, 100.0, 120.0)
    assert second.volume == 100.0
    assert published(system, 2) == old
    assert min(first.version, second.version) > old.version
    stored = system.sql_candles("1m")
    assert (stored[first.key][4], stored[second.key][4]) == (120.0, 100.0)
    assert stored[first.key][7] == first.version
    end(worker, signal.SIGINT)


def test_an_offset_beyond_the_end_is_refused_before_anything_is_committed(system: System) -> None:
    worker = system.start("refused")
    system.produce(trades(60, 100.0))
    system.wait_drained(60, sink=False)
    end(worker, signal.SIGTERM)
    worker.log.unlink()

    commit(system, 1000)
    system.produce(trades(60, 100.0, first_id=61))
    line = refusal(system)
    assert f"ends at offset 120, but group {system.id} has read up to 1000" in line
    assert "set STOCKSTREAM_EPOCH to 1 and have the group begin anew" in line
    assert committed(system) == 1000


def test_a_topic_deleted_under_a_running_worker_ends_it(system: System) -> None:
    worker = system.start("refused")
    system.produce(trades(180, 100.0))
    system.wait_drained(60, sink=False)
    wait_until(lambda: published(system, 0).is_closed, 30, "the first minute to be closed")
    old = published(system, 0)
    create_anew(system)
    system.produce(trades(100, 500.0, first_id=1000))
    wait_until(lambda: worker.exit_code is not None, 30, "the worker to end")
    assert worker.exit_code == 1
    (line,) = re.findall(r"^stockstream: .*$", worker.log.read_text(), re.MULTILINE)
    assert "STOCKSTREAM_EPOCH" in line
    assert published(system, 0) == old


def test_a_topic_with_more_partitions_is_refused_with_the_way_on(system: System) -> None:
    worker = system.start("refused")
    system.produce(trades(60, 100.0))
    system.wait_drained(60, sink=False)
    end(worker, signal.SIGTERM)
    worker.log.unlink()

    grown = NewPartitions(system.topic("yfinance"), 3)
    admin = admin_client(system.bootstrap)
    admin.create_partitions([grown])[grown.topic].result(30)
    wait_until(lambda: len(admin.list_topics(grown.topic).topics[grown.topic].partitions) == 3, 30, "new partitions")
    for partitions in ("1", "3"):
        line = refusal(system, partitions=partitions)
        assert "has 3 partitions, but candles were made with 1" in line
        assert "STOCKSTREAM_APP_ID" in line
        assert "STOCKSTREAM_EPOCH" in line
