"""Real Kafka brokers (KRaft, each broker and controller in one), from the jars of a release; Linux, loopback only."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from stockstream.testing.jars import java, quick_start
from stockstream.testing.process import HOST, ServerProcess, free_ports
from stockstream.testing.topics import Topics, admin_client
from stockstream.testing.wait import wait_until

_CLUSTER_ID = "c3RvY2tzdHJlYW0tdGVzdA"  # any 16 bytes in base64
_JVM = [
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]
_READY_TIMEOUT_S = 90


class KafkaCluster:
    """``brokers`` brokers on free ports, numbered from 0; a context manager that leaves nothing behind.

    Three brokers replicate threefold and ask for two in sync, so that one may be lost; fewer keep one copy.
    Topics are not created by mere use. ``settings`` are added to every broker's properties, and ``options`` to its
    Java's, in place of those for a quick start.
    """

    _format_options: Sequence[str] = ()

    def __init__(
        self,
        libs: Path,
        brokers: int = 1,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] | None = None,
    ) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="stockstream-kafka-"))
        quick, classes = quick_start(libs), ("-cp", f"{libs}/*")
        self._tool = [*java(self._root), *_JVM, *quick, *classes, "kafka.tools.StorageTool"]
        broker = [*java(self._root), *_JVM, *(quick if options is None else options), *classes, "kafka.Kafka"]
        ports = free_ports(2 * brokers)
        self._ports, self._controller_ports = ports[:brokers], ports[brokers:]
        self._processes: list[ServerProcess] = []
        for i in range(brokers):
            file = self._root / f"broker-{i}.properties"
            properties = self._properties(i) | dict(settings or {})
            file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
            log = self._root / f"broker-{i}.log"
            self._processes.append(ServerProcess([*broker, str(file)], log))

    @property
    def bootstrap(self) -> str:
        """What goes into ``KAFKA_BOOTSTRAP_SERVERS``: every broker, whether it runs or not."""
        return ",".join(f"{HOST}:{port}" for port in self._ports)

    @property
    def root(self) -> Path:
        """The folder with everything that the brokers write."""
        return self._root

    @property
    def brokers(self) -> Sequence[ServerProcess]:
        """The processes themselves, to be ended and started without waiting."""
        return self._processes

    @cached_property
    def topics(self) -> Topics:
        """A client to create, fill, read and delete topics with."""
        return Topics(self.bootstrap)

    def start(self, i: int) -> None:
        """Run broker ``i`` again on its old data and port, and wait until it serves."""
        self._processes[i].start()
        self.wait_ready([i])

    def stop(self, i: int) -> None:
        """End broker ``i`` in good order: it hands its partitions over first."""
        self._processes[i].stop()

    def kill(self, i: int) -> None:
        """End broker ``i`` as a crash would."""
        self._processes[i].kill()

    def pause(self, i: int) -> None:
        """Freeze broker ``i``: connections are accepted and nothing is answered."""
        self._processes[i].pause()

    def resume(self, i: int) -> None:
        """Let a frozen broker go on."""
        self._processes[i].resume()

    def wait_ready(self, brokers: Iterable[int] | None = None, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until each of ``brokers`` (all) serves clients and no partition that it knows of lacks a leader."""
        for i in range(len(self._processes)) if brokers is None else brokers:
            admin = admin_client(f"{HOST}:{self._ports[i]}")
            wait_until(partial(self._serves, i, admin), timeout_s, f"Kafka broker {i}")

    def wait_in_sync(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until every replica of every partition is in sync; all brokers must run."""
        admin = admin_client(self.bootstrap)

        def in_sync() -> bool:
            metadata = _metadata(admin)
            return metadata is not None and all(
                set(partition.isrs) == set(partition.replicas)
                for topic in metadata.topics.values()
                for partition in topic.partitions.values()
            )

        wait_until(in_sync, timeout_s, "all Kafka replicas in sync")

    def __enter__(self) -> Self:
        try:
            self._format()
            for process in self._processes:
                process.start()
            self.wait_ready()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _properties(self, i: int) -> dict[str, str]:
        count = len(self._ports)
        copies, in_sync = (3, 2) if count >= 3 else (1, 1)
        # a broker that crashed may register again only when its old session has run out
        session_ms, heartbeat_ms = (3000, 500) if count > 1 else (1500, 300)
        voters = ",".join(f"{j + 1}@{HOST}:{port}" for j, port in enumerate(self._controller_ports))
        client = f"CLIENT://{HOST}:{self._ports[i]}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(i + 1),
            "controller.quorum.voters": voters,
            "listeners": f"{client},CONTROLLER://{HOST}:{self._controller_ports[i]}",
            "advertised.listeners": client,
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT",
            "log.dirs": str(self._root / f"broker-{i}"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": str(copies),
            "min.insync.replicas": str(in_sync),
            "offsets.topic.replication.factor": str(copies),
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": str(copies),
            "transaction.state.log.min.isr": str(in_sync),
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": str(session_ms),
            "broker.heartbeat.interval.ms": str(heartbeat_ms),
            "log.cleaner.dedupe.buffer.size": "16777216",
        }

    def _format(self) -> None:
        tool = [*self._tool, "format", *self._format_options, "-t", _CLUSTER_ID, "-c"]
        jobs = [
            subprocess.Popen(
                [*tool, str(self._root / f"broker-{i}.properties")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for i in range(len(self._processes))
        ]
        outputs = [job.communicate()[0] for job in jobs]
        for job, output in zip(jobs, outputs, strict=True):
            if job.returncode:
                raise RuntimeError(f"Kafka could not format its storage: {output.decode(errors='replace')}")

    def _serves(self, i: int, admin: AdminClient) -> bool:
        self._processes[i].check()
        metadata = _metadata(admin)
        if metadata is None:
            return False
        running = {j + 1 for j, process in enumerate(self._processes) if process.running}
        if not running <= metadata.brokers.keys():
            return False
        return len(running) < len(self._processes) or all(
            partition.leader >= 0 for topic in metadata.topics.values() for partition in topic.partitions.values()
        )

    def _close(self) -> None:
        for process in self._processes:
            process.kill()  # the data is thrown away: an orderly end of a whole quorum takes seconds
        shutil.rmtree(self._root, ignore_errors=True)


def _metadata(admin: AdminClient) -> ClusterMetadata | None:
    try:
        return admin.list_topics(timeout=1)
    except KafkaException:
        return None
