from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stockstream.broker.connection import Connection
from stockstream.broker.embedded import PARTITIONS, EmbeddedBroker, make_topics
from stockstream.broker.topics import TopicSpec, ensure_topics
from stockstream.errors import BrokerUnreachable, SettingsError

WAIT_S = 30


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker()
    yield made
    made.close()


def produce(broker: EmbeddedBroker, topic: str, values: list[bytes], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(WAIT_S) == 0


async def test_topics_are_there_once_they_were_asked_for(broker: EmbeddedBroker) -> None:
    make_topics(broker.bootstrap_servers, ["a", "b"])
    specs = [TopicSpec("a", PARTITIONS), TopicSpec("b", PARTITIONS)]
    await ensure_topics(Connection(broker.bootstrap_servers), specs, 1)


def progress(broker: EmbeddedBroker, group: str, topics: list[str]) -> tuple[int, int]:
    return broker.committed(group, topics), broker.ends(topics)


def test_progress_is_what_a_group_has_committed_of_all_partitions(broker: EmbeddedBroker) -> None:
    make_topics(broker.bootstrap_servers, ["a", "b"])
    assert progress(broker, "readers", ["a", "b"]) == (0, 0)
    produce(broker, "a", [b"x"] * 3)
    produce(broker, "b", [b"x"] * 4, partition=2)
    assert progress(broker, "readers", ["a", "b"]) == (0, 7)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "readers", "log_level": 0})
    consumer.commit(offsets=[TopicPartition("b", 2, 4)], asynchronous=False)
    consumer.close()
    assert progress(broker, "readers", ["a", "b"]) == (4, 7)
    assert progress(broker, "readers", ["a"]) == (0, 3)
    assert progress(broker, "others", ["b"]) == (0, 4)


def test_it_keeps_the_newest_five_megabytes_of_a_partition(broker: EmbeddedBroker) -> None:
    make_topics(broker.bootstrap_servers, ["a"])
    for _ in range(12):
        produce(broker, "a", [b"x" * 1000] * 1000)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "readers", "log_level": 0})
    first, end = consumer.get_watermark_offsets(TopicPartition("a", 0), timeout=WAIT_S)
    consumer.close()
    assert end == 12_000
    assert 3000 < end - first < 6000


async def test_it_is_gone_afterwards() -> None:
    broker = EmbeddedBroker()
    where = broker.bootstrap_servers
    broker.close()
    with pytest.raises(BrokerUnreachable):
        await ensure_topics(Connection(where), [TopicSpec("a", 4)], 1)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SettingsError, match=r"pip install 'stockstream\[demo\]'"):
        EmbeddedBroker()
