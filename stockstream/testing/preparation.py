"""``python -m stockstream.testing.preparation``: half of what the Java servers need to start, done once and for all.

Each is started and ended once, and its Java writes what it has loaded (JEP 483) to a file beside the server's folder.
"""

from __future__ import annotations

from pathlib import Path

from stockstream.testing.jars import kafka_libs, prepared, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer

_TOPIC, _RECORDS = "any", 10
_WRITING_S = 300


def prepare() -> None:
    """Write the files of both servers; raises ``RuntimeError`` if one did not come about."""
    with KafkaCluster(kafka_libs(), options=_writing(kafka_libs())) as cluster:
        cluster.topics.create(_TOPIC)
        cluster.topics.produce(_TOPIC, [(b"key", b"value")] * _RECORDS)
        cluster.topics.read(_TOPIC)
        cluster.brokers[0].stop(_WRITING_S)
    with RegistryServer(registry_home(), _writing(registry_home())) as server:
        server.stop(_WRITING_S)
    for folder in (kafka_libs(), registry_home()):
        if not prepared(folder).exists():
            raise RuntimeError(f"Java has not written {prepared(folder)}")


def _writing(folder: Path) -> list[str]:
    prepared(folder).unlink(missing_ok=True)
    return [f"-XX:AOTCacheOutput={prepared(folder)}"]


if __name__ == "__main__":
    prepare()
