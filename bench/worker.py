"""Our worker as a contender, without its sink and with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bench.data import Candles, Workload
from bench.measure import Machine, Run, cpu_seconds, peak_mb
from bench.servers import Servers
from stockstream.settings import Settings
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.system import System, WorkerProcess

_POLL_S = 0.01
_LONGEST_S = 600
_NO_COORDINATOR_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
NOBODY = "http://127.0.0.1:1"
# At the default of a second it is the clock that a backlog would measure.
BACKLOG = {"commit_interval_s": "0.2"}
# What `System` makes shorter for tests.
_SHORTENED = ("session_timeout_s", "heartbeat_interval_s", "rebalance_timeout_s", "start_timeout_s", "sink_interval_ms")
_DEFAULTS = {name: str(Settings.model_fields[name].default) for name in _SHORTENED}


def run_worker(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
    """One worker process; its window ends when the last tick is committed.

    A commit waits until everything sent before is acknowledged.
    """
    with system_of(servers, workload, NOBODY, sink_enabled="false", **BACKLOG) as system:
        worker = system.start(wait=False)
        run = measure(system, workload, worker)
        worker.stop()
        return run, published(system)


def run_worker_with_sink(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
    """One worker process with its sink; its window ends when every candle and tick is in ClickHouse and committed."""
    with ClickHouseFacade() as clickhouse, system_of(servers, workload, clickhouse.url, **BACKLOG) as system:
        worker = system.start(wait=False)
        run = measure(system, workload, worker, sink=True)
        archived = system.sql("SELECT count() FROM ticks FINAL")[0][0]
        if archived != workload.ticks:
            raise AssertionError(f"{archived} of {workload.ticks} ticks are in the archive")
        found: Candles = {}
        for interval in ("1m", "5m", "1d"):
            for key, row in system.sql_candles(interval).items():
                found[key[0], interval, key[3]] = (*row[:4], row[4] or 0.0, row[5] or 0)
        worker.stop()
    return run, found


def published(system: System) -> Candles:
    """The candles as the topic ``candles`` holds them."""
    return {
        (key[0], key[1], key[3]): (
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume or 0.0,
            candle.trades or 0,
        )
        for key, candle in system.candles_topic().items()
    }


@contextmanager
def system_of(servers: Servers, workload: Workload, clickhouse_url: str, **settings: str) -> Iterator[System]:
    """An application of its own that reads the workload's topic; what it creates on the broker goes at the end."""
    given = {
        "tick_topics": workload.topic,
        "partitions": str(workload.partitions),
        "replication": "1",
        **_DEFAULTS,
        **settings,
    }
    with System(servers.bootstrap, servers.registry_url, clickhouse_url, topic_prefix="", **given) as system:
        system.prefix = ""
        try:
            yield system
        finally:
            for worker in system.workers.values():
                worker.kill()
            for name in servers.topics.names():
                if name.startswith(system.id) or not name.startswith(("bench-ticks-", "_")):
                    servers.topics.delete(name)


def measure(system: System, workload: Workload, worker: WorkerProcess, sink: bool = False) -> Run:
    """From the moment when the worker begins to the last commit; with ``sink`` to that of the sink too."""
    with progress_of(system.bootstrap, system.id) as progress:
        wait_begun(progress, system, worker)
        begin_s, cpu_s, machine = time.monotonic(), cpu_seconds(worker.pid), Machine()
        wait_committed(progress, workload, worker)
        if sink:
            wait_sunk(system, workload, worker)
        return Run(
            ticks=workload.ticks,
            seconds=time.monotonic() - begin_s,
            cpu_s=cpu_seconds(worker.pid) - cpu_s,
            peak_mb=peak_mb(worker.pid),
            **machine.shares(),
        )


def wait_begun(progress: Progress, system: System, worker: WorkerProcess) -> None:
    """Wait until the worker says that it is ready, or its first candle is seen.

    It answers between two fetches, so the first of them may be over by then.
    """
    until = time.monotonic() + _LONGEST_S
    while worker.get("/health/ready", 2)[0] != 200 and not progress.end(system.topic("candles")):
        worker.check()
        _sleep(until, "the worker to begin")


def wait_committed(progress: Progress, workload: Workload, worker: WorkerProcess) -> None:
    """Wait until the last tick is committed."""
    until = time.monotonic() + _LONGEST_S
    while progress.committed(workload.topic, workload.partitions) < workload.ticks:
        worker.check()
        _sleep(until, "the worker to commit the last tick")


def wait_sunk(system: System, workload: Workload, worker: WorkerProcess) -> None:
    """Wait until the sink has committed all ticks and candles that there are."""
    until = time.monotonic() + _LONGEST_S
    with progress_of(system.bootstrap, f"{system.id}-sink") as progress:
        topics = workload.topic, system.topic("candles")
        while any(progress.committed(topic, workload.partitions) < progress.end(topic) for topic in topics):
            worker.check()
            _sleep(until, "the sink to commit the last candle")


class Progress:
    """What a group has committed, cheap enough to be asked for many times a second."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def committed(self, topic: str, partitions: int) -> int:
        """The sum over the topic's partitions."""
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        try:
            return sum(max(0, place.offset) for place in self._consumer.committed(places, timeout=30))
        except KafkaException as error:
            if error.args[0].code() not in _NO_COORDINATOR_YET:
                raise
            return 0

    def end(self, topic: str) -> int:
        """How many records the topic holds; 0 if it is not there yet."""
        found = self._consumer.list_topics(timeout=30).topics.get(topic)
        places = [TopicPartition(topic, partition) for partition in found.partitions] if found else []
        try:
            return sum(self._consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
        except KafkaException:  # created this moment: no partition has a leader yet
            return 0


@contextmanager
def progress_of(bootstrap: str, group: str) -> Iterator[Progress]:
    """A group's progress, without joining it."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        yield Progress(consumer)
    finally:
        consumer.close()


def _sleep(until: float, what: str) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"waited {_LONGEST_S} s for {what}")
    time.sleep(_POLL_S)
