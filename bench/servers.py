"""The broker and the registry of a benchmark, and the topics of ticks on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.data import Candles, Workload, fill
from stockstream.codecs.registry import Registry
from stockstream.models import TICK_SCHEMA_V2
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.topics import Topics

# The tests' broker is made to start soon; this one is made to run: the optimizing compiler, and room.
_JVM = "-Xms1g -Xmx1g -XX:TieredStopAtLevel=4"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, and what has been written there."""

    bootstrap: str
    registry_url: str
    filled: dict[str, Candles] = field(default_factory=dict)

    @property
    def topics(self) -> Topics:
        """A client to create, read and delete topics with."""
        return Topics(self.bootstrap)

    def candles_of(self, workload: Workload) -> Candles:
        """Those that the workload amounts to; its ticks are in its topic from now on."""
        known = self.filled.get(workload.topic)
        if known is None:
            self.topics.create(workload.topic, workload.partitions)
            known = self.filled[workload.topic] = fill(self.bootstrap, workload, self.schema_id(workload.topic))
        return known

    def schema_id(self, topic: str) -> int:
        """The number of the ticks' schema for a topic."""
        return asyncio.run(self._register(f"{topic}-value"))

    async def _register(self, subject: str) -> int:
        registry = Registry(self.registry_url)
        try:
            return await registry.ensure(subject, TICK_SCHEMA_V2)
        finally:
            await registry.close()


@contextmanager
def started() -> Iterator[Servers]:
    """One broker and one registry, for as long as the context lasts."""
    kafka = KafkaCluster(kafka_libs())
    before = os.environ.get("_JAVA_OPTIONS")
    os.environ["_JAVA_OPTIONS"] = _JVM  # goes before what the cluster says itself
    try:
        kafka.__enter__()
    finally:
        del os.environ["_JAVA_OPTIONS"]
        if before is not None:
            os.environ["_JAVA_OPTIONS"] = before
    try:
        with RegistryServer(registry_home()) as registry:
            yield Servers(kafka.bootstrap, registry.url)
    finally:
        kafka.__exit__(None, None, None)
