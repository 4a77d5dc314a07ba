"""The systems that are measured: each reads the same topic from its beginning until all that it made is durable."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.data import CandleKey, Figures, Workload
from bench.measure import Machine, Run, cpu_seconds, peak_mb
from bench.peers.confluent_loop import ROW
from stockstream.testing.system import System
from stockstream.testing.topics import Topics

PREFIX = "bench-"
TICKS = PREFIX + "ticks"
_POLL_S = 0.02
_LONGEST_S = 600

Candles = dict[CandleKey, Figures]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are."""

    bootstrap: str
    registry_url: str

    @property
    def topics(self) -> Topics:
        """A client to create, read and delete topics with."""
        return Topics(self.bootstrap)


def run_worker(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
    """One worker process, without its sink.

    The window begins when the worker says that it is ready or its first candle is on the broker, whichever is seen
    first, and ends when the last tick is committed: a commit waits until everything sent before is acknowledged.
    """
    topics = servers.topics
    with System(
        servers.bootstrap,
        servers.registry_url,
        "http://127.0.0.1:1",  # never asked
        topic_prefix=PREFIX,
        tick_topics=TICKS.removeprefix(PREFIX),
        partitions=str(workload.partitions),
        replication="1",
        sink_enabled="false",
    ) as system:
        system.prefix = PREFIX
        try:
            worker = system.start(wait=False)
            with _offsets(servers, system.id) as offsets:
                until = time.monotonic() + _LONGEST_S
                while worker.get("/health/ready", 2)[0] != 200 and not offsets.written(PREFIX + "candles"):
                    worker.check()
                    _sleep(until, "the worker to begin")
                begin_s, cpu_s, machine = time.monotonic(), cpu_seconds(worker.pid), Machine()
                while offsets.committed(TICKS, workload.partitions) < workload.ticks:
                    worker.check()
                    _sleep(until, "the worker to commit the last tick")
                run = Run(
                    seconds=time.monotonic() - begin_s,
                    cpu_s=cpu_seconds(worker.pid) - cpu_s,
                    peak_mb=peak_mb(worker.pid),
                    **machine.shares(),
                )
            worker.stop()
            found = system.candles_topic()
        finally:
            for name in topics.names():
                if name.startswith((PREFIX, system.id)) and name != TICKS:
                    topics.delete(name)
    return run, {
        (key[0], key[1], key[3]): (
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume or 0.0,
            candle.trades or 0,
        )
        for key, candle in found.items()
    }


def run_loop(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
    """`bench.peers.confluent_loop` in a process of its own, which measures its window itself."""
    changelog, group = f"{PREFIX}loop-changelog", f"loop-{uuid4().hex}"
    topics = servers.topics
    topics.create(changelog, workload.partitions, config={"cleanup.policy": "compact"})
    try:
        machine = Machine()
        command = [sys.executable, "-m", "bench.peers.confluent_loop", "--bootstrap", servers.bootstrap]
        command += ["--group", group, "--topic", TICKS, "--changelog", changelog]
        command += ["--partitions", str(workload.partitions), "--records", str(workload.ticks)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LONGEST_S)
        run = Run(**json.loads(done.stdout), **machine.shares())
        with _offsets(servers, group) as offsets:
            if offsets.committed(TICKS, workload.partitions) != workload.ticks:
                raise AssertionError("the loop has not committed everything")
        found: Candles = {}
        for record in topics.read(changelog):
            assert record.key is not None and record.value is not None  # noqa: PT018 - it writes neither
            symbol, interval, start = record.key.decode().split("|")
            found[symbol, interval, int(start)] = ROW.unpack(record.value)
    finally:
        topics.delete(changelog)
    return run, found


CONTENDERS: dict[str, Callable[[Servers, Workload], tuple[Run, Candles]]] = {"worker": run_worker, "loop": run_loop}


class _Offsets:
    """A group's progress, cheap enough to be asked for many times a second."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def committed(self, topic: str, partitions: int) -> int:
        """The sum of what the group has committed."""
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        return sum(max(0, place.offset) for place in self._consumer.committed(places, timeout=30))

    def written(self, topic: str) -> bool:
        """Whether the topic is there and holds anything."""
        found = self._consumer.list_topics(timeout=30).topics.get(topic)
        if found is None or not found.partitions:
            return False
        places = [TopicPartition(topic, partition) for partition in found.partitions]
        try:
            return any(self._consumer.get_watermark_offsets(place, timeout=30)[1] > 0 for place in places)
        except KafkaException:  # created this moment: no partition has a leader yet
            return False


@contextmanager
def _offsets(servers: Servers, group: str) -> Iterator[_Offsets]:
    consumer = Consumer(
        {"bootstrap.servers": servers.bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        yield _Offsets(consumer)
    finally:
        consumer.close()


def _sleep(until: float, what: str) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"waited {_LONGEST_S} s for {what}")
    time.sleep(_POLL_S)
