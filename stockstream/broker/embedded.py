"""A broker inside this process: librdkafka's own mock, for the demonstration.

It keeps the newest 5 MB of each partition, in memory, and forgets what is older whether it was read or not. It does not
create topics on request: asking for one's metadata makes it, with 4 partitions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from stockstream.errors import SettingsError

PARTITIONS = 4
"""What each of its topics has."""

_TIMEOUT_S = 10.0


class EmbeddedBroker:
    """One broker at ``bootstrap_servers`` on the loopback address, from its making until `close`."""

    def __init__(self) -> None:
        self._producer = _confluent().Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "-", "log_level": 0})
        (broker,) = self._producer.list_topics(timeout=_TIMEOUT_S).brokers.values()
        self.bootstrap_servers = f"{broker.host}:{broker.port}"
        self._groups: dict[str, Any] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """End it, when nobody asks for offsets any more; what it held is gone."""
        with self._lock:
            for consumer in self._groups.values():
                consumer.close()
            self._groups.clear()
            del self._producer

    def committed(self, group: str, topics: Iterable[str]) -> int:
        """How far ``group`` has committed, summed over all partitions; threads take turns."""
        with self._lock:
            places = self._consumer(group).committed(_places(topics), timeout=_TIMEOUT_S)
        return sum(max(0, place.offset) for place in places)

    def ends(self, topics: Iterable[str]) -> int:
        """The ends of the logs, summed over all partitions; threads take turns."""
        with self._lock:
            consumer = self._consumer("-")  # any group: its offsets are not asked for
            return sum(consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)[1] for place in _places(topics))

    def _consumer(self, group: str) -> Any:
        consumer = self._groups.get(group)
        if consumer is None:
            consumer = self._groups[group] = _confluent().Consumer(
                {"bootstrap.servers": self.bootstrap_servers, "group.id": group, "log_level": 0}
            )
        return consumer


def make_topics(bootstrap_servers: str, names: Iterable[str]) -> None:
    """Have an embedded broker make the topics that it does not have."""
    client = _confluent().Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for name in names:
        client.list_topics(name, timeout=_TIMEOUT_S)


def _places(topics: Iterable[str]) -> list[Any]:
    make = _confluent().TopicPartition
    return [make(topic, number) for topic in topics for number in range(PARTITIONS)]


def _confluent() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise SettingsError(
            "the embedded broker is in confluent-kafka, which is not installed: pip install 'stockstream[demo]'"
        ) from error
    return confluent_kafka
