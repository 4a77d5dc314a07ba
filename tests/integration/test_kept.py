"""How long brokers still keep what a group has not read."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

from stockstream.broker.connection import Connection
from stockstream.broker.kept import retention_left
from stockstream.testing.kafka import KafkaCluster

KEPT_S = 100_000


def commit(kafka: KafkaCluster, group: str, place: TopicPartition) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()


async def test_the_oldest_record_that_is_not_read_counts(kafka: KafkaCluster) -> None:
    topic, endless, group = (uuid4().hex for _ in range(3))
    kafka.topics.create(topic, 3, config={"retention.ms": str(KEPT_S * 1000)})
    kafka.topics.create(endless, 1, config={"retention.ms": "-1"})
    for partition in (1, 2):
        kafka.topics.produce(topic, [(b"k", b"1"), (b"k", b"2")], partition)
    kafka.topics.produce(endless, [(b"k", b"1")])
    written_ms = int(time.time() * 1000)
    groups = {group: [topic, endless, "not there"]}

    async def left_s(later_s: float) -> float:
        found = await retention_left(Connection(kafka.bootstrap), groups, written_ms + int(later_s * 1000))
        ((at, (left, kept)),) = found.items()
        assert (at, kept) == ((group, topic), KEPT_S)
        return left

    commit(kafka, group, TopicPartition(topic, 0, 0))
    assert await left_s(0.3 * KEPT_S) == pytest.approx(0.7 * KEPT_S, rel=0.01)  # of the others nothing is committed
    commit(kafka, group, TopicPartition(topic, 1, 2))
    commit(kafka, group, TopicPartition(topic, 2, 1))
    assert await left_s(0.75 * KEPT_S) == pytest.approx(0.25 * KEPT_S, rel=0.02)
    assert await left_s(2 * KEPT_S) == 0
    commit(kafka, group, TopicPartition(topic, 2, 2))
    assert await left_s(2 * KEPT_S) == KEPT_S  # all is read
