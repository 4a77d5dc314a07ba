"""The brokers' time and the spans of their logs, asked of a real one."""

from __future__ import annotations

import time
from types import SimpleNamespace
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from stockstream.broker import clock
from stockstream.broker.clock import Reading, clock_of
from stockstream.broker.connection import Connection
from stockstream.broker.spans import Span, spans_of
from stockstream.broker.topics import committed_by, configs_of
from stockstream.errors import BrokerUnreachable
from stockstream.testing.kafka import KafkaCluster

NOWHERE = Connection("127.0.0.1:1")
VOTERS = [(1, 10, 4_000, 4_000, {}), (2, 10, 5_000, 5_000, {})]


async def test_a_broker_on_this_machine_has_our_time(kafka: KafkaCluster) -> None:
    reading = await clock_of(Connection(kafka.bootstrap))
    assert reading is not None
    assert abs(reading.ahead_ms) <= reading.error_ms + 2  # it tells whole ms


async def test_a_clock_that_is_behind_sees_the_brokers_ahead(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - 60_000_000_000))
    reading = await clock_of(Connection(kafka.bootstrap))
    assert reading is not None
    assert abs(reading.ahead_ms - 60_000) <= reading.error_ms + 2


@pytest.mark.parametrize(
    ("leader", "voters", "told"),
    [(2, VOTERS, Reading(4_000, 500)), (3, VOTERS, None), (2, [(2, 10, -1, -1, {})], None), (2, [], None)],
)
def test_only_the_leader_tells_the_time(leader: int, voters: list[tuple[object, ...]], told: Reading | None) -> None:
    answer = SimpleNamespace(topics=[("__cluster_metadata", [(0, 0, leader, 7, 10, voters, [], {})], {})])
    assert clock._read(answer, 500_000_000, 1_500_000_000) == told


def test_who_may_not_ask_is_told_nothing() -> None:
    assert clock._read(SimpleNamespace(topics=[]), 0, 1) is None


async def test_a_broker_that_is_away_has_no_time_and_no_log() -> None:
    with pytest.raises(BrokerUnreachable):
        await clock_of(NOWHERE)
    with pytest.raises(BrokerUnreachable):
        await spans_of(NOWHERE, {TopicPartition("t", 0): 0})


async def test_a_span_begins_and_ends_and_a_time_lies_in_it(kafka: KafkaCluster) -> None:
    topic = uuid4().hex
    kafka.topics.create(topic, 2)
    kafka.topics.produce(topic, [(b"k", b"v")] * 3, partition=1)
    after_ms = int(time.time() * 1000) + 1000
    places = [TopicPartition(topic, number) for number in (0, 1)]
    connection = Connection(kafka.bootstrap)
    assert await spans_of(connection, dict.fromkeys(places, 0)) == {places[0]: Span(0, 0, 0), places[1]: Span(0, 0, 3)}
    assert (await spans_of(connection, {places[1]: after_ms}))[places[1]] == Span(0, 3, 3)


async def test_settings_and_commits_are_told_where_there_are_any(kafka: KafkaCluster) -> None:
    topic, connection = uuid4().hex, Connection(kafka.bootstrap)
    kafka.topics.create(topic, config={"retention.ms": "12345", "cleanup.policy": "compact,delete"})
    found = await configs_of(connection, [topic, "nothing"])
    assert (found[topic]["retention.ms"], found[topic]["cleanup.policy"]) == ("12345", "compact,delete")
    assert found["nothing"] == {}
    assert await committed_by(connection, uuid4().hex) == {}
