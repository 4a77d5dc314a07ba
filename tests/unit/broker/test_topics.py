"""Topics on a real broker: made once, checked, never changed."""

from __future__ import annotations

import asyncio
import logging
import socket
from uuid import uuid4

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from stockstream.broker.connection import Connection
from stockstream.broker.topics import COMPACTED, KEPT_7_DAYS, TopicSpec, check, ensure_topics
from stockstream.errors import BrokerRefused, BrokerUnreachable, StockstreamError, TopicMismatch
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.topics import admin_client
from stockstream.testing.wait import wait_until_async

TICKS = TopicSpec("ticks", 4)
CANDLES = TopicSpec("candles", 4, at_least=4)
CHANGELOG = TopicSpec("changes", 4)


def partitions(kafka: KafkaCluster, *topics: str) -> list[int]:
    known = admin_client(kafka.bootstrap).list_topics(timeout=30).topics
    return [len(known[name].partitions) if name in known else 0 for name in topics]


def settings_of(kafka: KafkaCluster, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = admin_client(kafka.bootstrap)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(30).items()}


async def test_missing_topics_are_made_as_they_should_be(kafka: KafkaCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept, compacted = (TopicSpec(uuid4().hex, 3, config) for config in (KEPT_7_DAYS, COMPACTED))
    connection = Connection(kafka.bootstrap)
    await ensure_topics(connection, [kept], 3, [compacted])
    await wait_until_async(lambda: partitions(kafka, kept.name, compacted.name) == [3, 3], 30, "the topics")
    assert settings_of(kafka, kept.name)["retention.ms"] == "604800000"
    assert settings_of(kafka, compacted.name)["cleanup.policy"] == "compact"
    assert caplog.messages[0] == "creating topics with 1 copies instead of 3: there are no more brokers"
    caplog.clear()
    await ensure_topics(connection, [kept], 3, [compacted])
    assert caplog.messages == []


async def test_workers_that_start_at_once_do_not_disturb_each_other(kafka: KafkaCluster) -> None:
    specs = [TopicSpec(uuid4().hex, 1) for _ in range(3)]
    await asyncio.gather(*(ensure_topics(Connection(kafka.bootstrap), specs, 1) for _ in range(4)))
    names = {spec.name for spec in specs}
    await wait_until_async(lambda: names <= kafka.topics.names(), 30, "the topics to be known")


async def test_topics_that_are_there_stay_as_they_are(kafka: KafkaCluster) -> None:
    name = uuid4().hex
    kafka.topics.create(name, 2, config={"retention.ms": "60000"})
    await ensure_topics(Connection(kafka.bootstrap), [TopicSpec(name, 2, KEPT_7_DAYS)], 1)
    assert settings_of(kafka, name)["retention.ms"] == "60000"
    with pytest.raises(TopicMismatch, match=f"topic {name} has 2 partitions instead of 5"):
        await ensure_topics(Connection(kafka.bootstrap), [TopicSpec(name, 5)], 1)
    assert partitions(kafka, name) == [2]


async def test_what_the_broker_refuses_is_told_with_its_reason(kafka: KafkaCluster) -> None:
    with pytest.raises(StockstreamError, match=r"cannot create topic .*: .*retention\.ms"):
        await ensure_topics(Connection(kafka.bootstrap), [TopicSpec(uuid4().hex, 1, {"retention.ms": "long"})], 1)


async def test_nobody_at_the_address_is_told_with_the_networks_reason(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BrokerUnreachable, match=r"at 127\.0\.0\.1:1 \(.*Connect call failed.*KAFKA_BOOTSTRAP_SERVERS"):
        await ensure_topics(Connection("127.0.0.1:1"), [TICKS], 1)
    assert caplog.messages == []  # aiokafka's own lines are kept back
    assert logging.getLogger("aiokafka").propagate


async def test_a_broker_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stockstream.broker.topics._CONTACT_TIMEOUT_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(BrokerUnreachable, match=r"nothing within 0\.2 s"),
    ):
        await ensure_topics(Connection(f"127.0.0.1:{server.getsockname()[1]}"), [TICKS], 1)


async def test_a_login_at_a_broker_that_takes_none_is_told(kafka: KafkaCluster) -> None:
    connection = Connection(kafka.bootstrap, "SASL_PLAINTEXT", "PLAIN", "app", "hidden")
    with pytest.raises(BrokerRefused, match=r"takes no logins: set KAFKA_SECURITY_PROTOCOL") as caught:
        await ensure_topics(connection, [TICKS], 1)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"ticks": 4},
        {"ticks": 4, "candles": 6, "changes": 4},
        {"candles": 4},
    ],
)
def test_counts_that_fit(found: dict[str, int]) -> None:
    check([TICKS, CANDLES], [CHANGELOG], found)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"ticks": 6}, "ticks has 6 partitions instead of 4: set STOCKSTREAM_PARTITIONS=6"),
        ({"ticks": 4, "candles": 3}, "candles has 3 partitions, but must have 4.*--alter --topic candles"),
        ({"ticks": 6, "changes": 4}, "ticks has 6 partitions, but candles were made with 4.*STOCKSTREAM_EPOCH"),
        ({"ticks": 6, "changes": 6}, "candles were made with 6 partitions, not 4: set STOCKSTREAM_PARTITIONS=6"),
        ({"ticks": 4, "changes": 6}, "ticks has 4 partitions, but candles were made with 6"),
        ({"changes": 6}, "candles were made with 6 partitions, not 4"),
    ],
)
def test_counts_that_do_not(found: dict[str, int], told: str) -> None:
    with pytest.raises(TopicMismatch, match=told):
        check([TICKS, CANDLES], [CHANGELOG], found)
