"""A system with the names that a release's data were made under, and those data put back into servers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from released.data import Placed, Release, read_records, read_schemas, topic_file

from stockstream.codecs import Registry
from stockstream.testing.system import System
from stockstream.testing.topics import Topics, ask_who_moves

_KEPT = {"retention.ms": "-1"}  # whatever the date is


class ReleasedSystem(System):
    """As `System`, under a release's names: rows remember their topic by its name."""

    def __init__(
        self, release: Release, bootstrap: str, registry_url: str, clickhouse_url: str, **settings: str
    ) -> None:
        super().__init__(
            bootstrap,
            registry_url,
            clickhouse_url,
            app_id=release.app_id,
            topic_prefix=release.topic_prefix,
            partitions=str(release.partitions),
            tick_topics=",".join(release.tick_topics),
            clickhouse_database=release.app_id,
            **settings,
        )
        self.id, self.prefix = release.app_id, release.topic_prefix


def restore(release: Release, bootstrap: str) -> None:
    """Make the topics with what they held, at the same offsets, and have the workers' group where it was."""
    topics = Topics(bootstrap)
    for name, policy in release.topics.items():
        topics.create(name, _partitions(release, name), config={"cleanup.policy": policy, **_KEPT})
        append(bootstrap, read_records(topic_file(release, name)))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": release.app_id})
    try:
        places = [TopicPartition(topic, partition, offset) for topic, partition, offset in release.committed]
        ask_who_moves(lambda: consumer.commit(offsets=places, asynchronous=False))
    finally:
        consumer.close()


def append(bootstrap: str, records: Iterable[Placed]) -> None:
    """Write records to where they lay; an error if one comes to lie at another offset.

    Their times are those of now: with others, what a broker does would depend on the date.
    """
    failures: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    for topic, record in records:

        def delivered(error: Any, message: Any, topic: str = topic, offset: int = record.offset) -> None:
            if error is not None or message.offset() != offset:
                failures.append(f"{topic} {error or message.offset()} instead of {offset}")

        headers = list(record.headers.items())
        producer.produce(topic, record.value, record.key, record.partition, delivered, headers=headers)
    if producer.flush(30) or failures:
        raise AssertionError(f"records could not be put back: {failures[:3]}")


async def register(release: Release, registry_url: str) -> None:
    """Register the release's schemas in a registry that has none, with their ids, by which records name them.

    A registry counts: others take the places of ids that it had passed over.
    """
    registry, at = Registry(registry_url), 0
    known: set[int] = set()
    again = []
    try:
        for each in read_schemas(release):  # by their ids
            if each["id"] in known:
                again.append(each)
                continue
            for passed in range(at + 1, each["id"]):
                await registry.ensure(f"passed-{passed}", {"type": "record", "name": f"passed{passed}", "fields": []})
            at = await registry.ensure(each["subject"], each["schema"])
            if at != each["id"]:
                raise AssertionError(f"{each['subject']} has the id {at} instead of {each['id']}")
            known.add(at)
        for each in again:
            await registry.ensure(each["subject"], each["schema"])
    finally:
        await registry.close()


def _partitions(release: Release, topic: str) -> int:
    return 1 if topic == f"{release.topic_prefix}connections" else release.partitions
