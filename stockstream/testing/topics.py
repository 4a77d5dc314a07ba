"""Create, fill, read and delete Kafka topics from a test, synchronously."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from stockstream.testing.wait import wait_until

_TIMEOUT_S = 30
_BROKER_DEFAULT = -1
_BY_KEY = -1
_PATIENT: dict[str, str | int | float | bool] = {
    "log_level": 0,  # a broker that is down on purpose is no news
    "reconnect.backoff.max.ms": 200,  # and found again soon
}
_MOVING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,  # asked of one who has gone, and nobody has taken over yet
}
_MOVING_POLL_S = 0.1
_MOVED_AFTER_S = 5

Answer = TypeVar("Answer")


def ask_who_moves(ask: Callable[[], Answer], timeout_s: float = _TIMEOUT_S) -> Answer:
    """What ``ask`` comes to once whoever must answer has been found again: leaders and coordinators move.

    A broker that has just started, or was short of time, may have to take over first.
    """
    give_up_s = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() > give_up_s:
                raise
            time.sleep(_MOVING_POLL_S)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in a topic."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str | bytes | None] = field(default_factory=dict)


def admin_client(bootstrap: str) -> AdminClient:
    """An admin client that does not print its connection errors."""
    return AdminClient({"bootstrap.servers": bootstrap, **_PATIENT})


class Topics:
    """The topics of the cluster at ``bootstrap``; every call waits until its effect can be seen.

    Calls raise ``KafkaException`` when the cluster refuses and ``TimeoutError`` when it does not answer in time.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = admin_client(bootstrap)

    def create(
        self,
        name: str,
        partitions: int = 1,
        replication: int = _BROKER_DEFAULT,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic whose partitions all have a leader; ``replication`` -1 is the cluster's default."""
        topic = NewTopic(name, partitions, replication, config=dict(config or {}))
        self._admin.create_topics([topic], operation_timeout=_TIMEOUT_S)[name].result(_TIMEOUT_S)
        wait_until(lambda: self._all_led(name, partitions), _TIMEOUT_S, f"leaders of topic {name}")

    def delete(self, name: str) -> None:
        """Delete a topic with all it holds."""
        self._admin.delete_topics([name], operation_timeout=_TIMEOUT_S)[name].result(_TIMEOUT_S)
        wait_until(lambda: name not in self.names(), _TIMEOUT_S, f"topic {name} to go")

    def configure(self, name: str, setting: str, value: str | None, timeout_s: float = _TIMEOUT_S) -> None:
        """Change a setting of a topic; None takes it back to the broker's default."""
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        entry = ConfigEntry(setting, value or "", incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource], request_timeout=timeout_s)[resource].result(_TIMEOUT_S)

    def names(self) -> set[str]:
        """The topics that exist, Kafka's own included."""
        return set(self._admin.list_topics(timeout=_TIMEOUT_S).topics)

    def leader(self, name: str, partition: int) -> int:
        """The number, as in ``KafkaCluster``, of the broker that leads a partition; negative if none does just now."""
        return self._leaders(name)[partition] - 1

    def end_offsets(self, name: str) -> dict[int, int]:
        """Each partition's next offset to be written."""
        return ask_who_moves(lambda: self._end_offsets(name))

    def produce(
        self,
        name: str,
        records: Iterable[tuple[bytes | None, bytes | None]],
        partition: int | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """Write (key, value) pairs in order, acknowledged within ``timeout_s`` by all in-sync replicas.

        Without ``partition`` the key decides, by murmur2, the partitioner of all our producers.
        """
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error)

        place = _BY_KEY if partition is None else partition
        for key, value in records:
            while True:
                try:
                    self._producer.produce(name, value, key, place, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(1)
            self._producer.poll(0)
        if self._producer.flush(timeout_s):
            raise TimeoutError(f"records for topic {name} were not acknowledged within {timeout_s:g} s")
        if failures:
            raise KafkaException(failures[0])

    def read(self, name: str) -> list[Record]:
        """All that a topic holds now, by partition and offset; uncommitted transactions are left out."""
        records: list[Record] = []
        partitions = self._leaders(name)
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
            unread = set(partitions)
            while unread:
                message = consumer.poll(_TIMEOUT_S)
                if message is None:
                    raise TimeoutError(f"topic {name} did not answer within {_TIMEOUT_S} s")
                error = message.error()
                if error is None:
                    records.append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    @cached_property
    def _producer(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                **_PATIENT,
            }
        )

    def _leaders(self, name: str) -> dict[int, int]:
        """The leading node of each partition; -1 where there is none just now."""
        topic = self._admin.list_topics(name, timeout=_TIMEOUT_S).topics[name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return {each.id: each.leader for each in topic.partitions.values()}

    def _end_offsets(self, name: str) -> dict[int, int]:
        # Tests wait for these: one request of a client that is there costs a twentieth of what a new consumer does.
        latest = {TopicPartition(name, partition): OffsetSpec.latest() for partition in self._leaders(name)}
        found = self._admin.list_offsets(
            latest, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_MOVED_AFTER_S
        )
        return {place.partition: answer.result().offset for place, answer in found.items()}

    def _all_led(self, name: str, partitions: int) -> bool:
        try:
            leaders = self._leaders(name)
        except KafkaException:  # not every broker has heard of it yet
            return False
        return len(leaders) == partitions and min(leaders.values()) >= 0

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": f"reader-{uuid.uuid4().hex}",  # required, though none is ever joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                **_PATIENT,
            }
        )


def _record(message: Message[bytes, bytes]) -> Record:
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise RuntimeError("a consumed record has no place")
    headers = dict(message.headers() or [])
    return Record(partition, offset, message.timestamp()[1], message.key(), message.value(), headers)
