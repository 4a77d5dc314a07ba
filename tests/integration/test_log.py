"""Peculiarities of the log that ticks are read from must neither stall a worker nor have it read in circles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer, TopicPartition
from oracle import assert_candles, expected_candles
from places import by_changelog

from stockstream.models import Tick
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.topics import admin_client
from stockstream.testing.wait import wait_until

NO_CLICKHOUSE = "http://127.0.0.1:1"
SYMBOL = "BINANCE:XRPETH"
T0_MS = 1_700_000_100_000
PATIENCE_S = 30


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer) -> Iterator[System]:
    """One partition, and no sink."""
    with System(
        kafka.bootstrap, registry.url, NO_CLICKHOUSE, sink_enabled="false", partitions="1", close_delay_s="0"
    ) as made:
        yield made


def trades(first: int, count: int) -> list[Tick]:
    """One every 100 ms."""
    return [
        Tick(SYMBOL, T0_MS + n * 100, 1.0 + n % 7, 1.0 + n, trade_id=n, source="binance")
        for n in range(first, first + count)
    ]


def assert_right(system: System) -> None:
    expected = expected_candles(system.tick_log()[0])
    assert_candles(expected, system.candles_topic(), "the candles topic")
    assert_candles(expected, by_changelog(system, in_log_order=True), "the changelog")


def test_a_first_fetch_of_one_record_does_not_stall_the_commit(system: System) -> None:
    system.start()
    system.produce(trades(0, 1))
    system.wait_drained(PATIENCE_S, sink=False)
    assert system.progress() == (1, 1)
    system.produce(trades(1, 5000))
    system.wait_drained(PATIENCE_S, sink=False)
    assert_right(system)


def test_transactions_leave_no_hole(system: System) -> None:
    worker = system.start()
    encode = system.encoder()
    producer = Producer({"bootstrap.servers": system.bootstrap, "transactional.id": system.id})
    producer.init_transactions(PATIENCE_S)
    for first in range(0, 600, 100):
        producer.begin_transaction()
        for tick in trades(first, 100):
            producer.produce(system.topic("yfinance"), encode(tick), tick.symbol.encode())
        producer.commit_transaction(PATIENCE_S)
        # the marker of the commit lies behind the last record: it may come in a fetch of its own
        wait_until(lambda done=first + 100: latest_id(system) == done - 1, PATIENCE_S, f"trade {first + 99} to be read")
    # The last window ends by the clock on the wall, which only counts once everything has been read.
    wait_until(lambda: all_closed(system), 2 * PATIENCE_S, "the last 1m candle to close")
    assert_right(system)
    said = worker.log.read_text()
    assert "deleted" not in said
    assert "reading again" not in said


def latest_id(system: System) -> int:
    status, answer = system.workers["w0"].get(f"/tables/latest/{SYMBOL}")
    return round((answer["rows"][0]["event_time_ms"] - T0_MS) / 100) if status == 200 else -1


def all_closed(system: System) -> bool:
    status, answer = system.workers["w0"].get(f"/tables/candles_1m/{SYMBOL}")
    return status == 200 and all(row["is_closed"] for row in answer["rows"])


def test_deleted_records_are_passed_over(system: System) -> None:
    worker = system.start()
    system.produce(trades(0, 100))
    system.wait_drained(PATIENCE_S, sink=False)
    worker.stop()
    system.produce(trades(100, 200))
    place = TopicPartition(system.topic("yfinance"), 0, 250)
    admin = admin_client(system.bootstrap)
    admin.delete_records([place])[place].result(PATIENCE_S)
    worker.start()
    worker.wait_ready()
    system.wait_drained(PATIENCE_S, sink=False)
    system.produce(trades(300, 1000))
    system.wait_drained(PATIENCE_S, sink=False)
    read = [*enumerate(trades(0, 100)), *enumerate(trades(250, 1050), start=250)]
    assert_candles(expected_candles(read), system.candles_topic(), "the candles topic")
    assert worker.log.read_text().count("offsets 100 to 249 were deleted before they were read") == 1
