"""The systems that are measured: each reads the same ticks from their beginning until all that it made is durable."""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench.data import ROOT, CandleKey, Candles, Figures, Workload
from bench.environments import classpath_of, python_of
from bench.measure import Machine, Run
from bench.servers import Servers
from bench.worker import run_worker, run_worker_with_sink
from stockstream.core.interval import INTERVALS_MS
from stockstream.models import TICK_SCHEMA_V2
from stockstream.testing.jars import java
from stockstream.testing.topics import Topics

_LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Contender:
    """One system: how many of the ticks it is given, in how many of the rounds it takes part, and how it is run."""

    name: str
    run: Callable[[Servers, Workload], tuple[Run, Candles]]
    at_most: int = 1 << 62
    rounds: int = 1 << 62
    needs: Callable[[], object] = lambda: None
    """Makes its environment, before anything is measured."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What one run of a peer has for itself; ``given`` are the arguments that all of them take."""

    name: str
    folder: Path
    schema: Path

    def arguments(self, servers: Servers, workload: Workload, topic: str | None = None) -> list[str]:
        """Those of a peer in Python; ``topic`` if it is not the workload's."""
        return [
            *("--bootstrap", servers.bootstrap, "--topic", topic or workload.topic),
            *("--partitions", str(workload.partitions)),
            *("--records", str(workload.ticks), "--group", self.name),
            *("--schema", str(self.schema), "--folder", str(self.folder)),
        ]


def _loop(module: str) -> Callable[[Servers, Workload], tuple[Run, Candles]]:
    def run(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
        with peer_of_its_own(servers.topics) as peer:
            changelog = f"{peer.name}-changelog"
            servers.topics.create(changelog, workload.partitions, config={"cleanup.policy": "compact"})
            command = [str(python_of("peers/loop")), "-m", f"bench.peers.loop.{module}"]
            measured = _run([*command, *peer.arguments(servers, workload)], workload)
            return measured, dict(_of_loop(servers.topics, changelog))

    return run


def _of_loop(topics: Topics, changelog: str) -> Iterator[tuple[CandleKey, Figures]]:
    row = struct.Struct("<5dq")
    for record in topics.read(changelog):
        assert record.key is not None and record.value is not None  # noqa: PT018 - it writes neither
        symbol, interval, start = record.key.decode().split("|")
        yield (symbol, interval, int(start)), row.unpack(record.value)


def _kafka_streams(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
    with peer_of_its_own(servers.topics) as peer:
        measured = _run(
            [
                *(*java(peer.folder), "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"),
                *("-cp", classpath_of("peers/kafka_streams"), "Candles", servers.bootstrap, workload.topic),
                *(str(workload.ticks), peer.name, str(peer.schema), str(peer.folder)),
            ],
            workload,
        )
        return measured, dict(_of_streams(servers.topics, peer.name))


def _of_streams(topics: Topics, application: str) -> Iterator[tuple[CandleKey, Figures]]:
    row, at = struct.Struct(">5dq"), struct.Struct(">qi")
    for interval in INTERVALS_MS:
        for record in topics.read(f"{application}-c{interval}-changelog"):
            assert record.key is not None and record.value is not None  # noqa: PT018 - nothing has expired yet
            start_ms, _ = at.unpack(record.key[-at.size :])
            yield (record.key[: -at.size].decode(), interval, start_ms), row.unpack(record.value[-row.size :])


def _python(package: str) -> Callable[[Servers, Workload], tuple[Run, Candles]]:
    """A peer that leaves its candles in its folder."""

    def run(servers: Servers, workload: Workload) -> tuple[Run, Candles]:
        with peer_of_its_own(servers.topics) as peer:
            command = [str(python_of(f"peers/{package}")), "-m", f"bench.peers.{package}"]
            measured = _run([*command, *peer.arguments(servers, workload)], workload)
            rows = [json.loads(line) for line in (peer.folder / "candles.jsonl").read_text().splitlines()]
            return measured, {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}

    return run


def _run(command: Sequence[str], workload: Workload) -> Run:
    """Run a peer, which measures its window itself and prints it last."""
    machine = Machine()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return Run(ticks=workload.ticks, **json.loads(done.stdout.splitlines()[-1]), **machine.shares())


@contextmanager
def peer_of_its_own(topics: Topics) -> Iterator[Peer]:
    """A name and a folder; what was created under the name goes when the context is left."""
    name = f"peer-{uuid4().hex[:10]}"
    with tempfile.TemporaryDirectory(prefix="stockstream-bench-") as folder:
        schema = Path(folder) / "schema.json"
        schema.write_text(json.dumps(TICK_SCHEMA_V2))
        state = Path(folder) / "state"
        state.mkdir()
        try:
            yield Peer(name, state, schema)
        finally:
            for topic in topics.names():
                if name in topic:
                    topics.delete(topic)


WORKER, LOOP = "worker", "loop"
CONTENDERS = [
    Contender(WORKER, run_worker),
    Contender(LOOP, _loop("scalar"), 500_000, needs=lambda: python_of("peers/loop")),
    Contender("loop, vectorised", _loop("vectorised"), needs=lambda: python_of("peers/loop")),
    Contender("Kafka Streams", _kafka_streams, needs=lambda: classpath_of("peers/kafka_streams")),
    Contender("worker with sink", run_worker_with_sink, rounds=3),
    Contender("Bytewax", _python("bytewax"), 200_000, 1, lambda: python_of("peers/bytewax")),
    Contender("Quix Streams", _python("quix"), 200_000, 1, lambda: python_of("peers/quix")),
    Contender("Faust, an event at a time", _python("faust"), 40_000, 1, lambda: python_of("peers/faust")),
]
