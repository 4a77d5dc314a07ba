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
        """End it, when nobody asks for progress any more; what it held is gone."""
        with self._lock:
            for consumer in self._groups.values():
                consumer.close()
            self._groups.clear()
            del self._producer

    def progress(self, group: str, topics: Iterable[str]) -> tuple[int, int]:
        """Offsets, summed over all partitions of ``topics``: what ``group`` has committed, and the ends of the logs.

        Threads may ask at once: they take turns.
        """
        confluent = _confluent()
        places = [confluent.TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        with self._lock:
            consumer = self._groups.get(group)
            if consumer is None:
                consumer = self._groups[group] = confluent.Consumer(
                    {"bootstrap.servers": self.bootstrap_servers, "group.id": group, "log_level": 0}
                )
            ends = sum(consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)[1] for place in places)
            committed = consumer.committed(places, timeout=_TIMEOUT_S)
        return sum(max(0, place.offset) for place in committed), ends


def make_topics(bootstrap_servers: str, names: Iterable[str]) -> None:
    """Have an embedded broker make the topics that it does not have."""
    client = _confluent().Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for name in names:
        client.list_topics(name, timeout=_TIMEOUT_S)


def _confluent() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise SettingsError(
            "the embedded broker is in confluent-kafka, which is not installed: pip install 'stockstream[demo]'"
        ) from error
    return confluent_kafka
