"""A replay into a broker that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.wait import wait_until

LATER_MS, NIGHT_MS = 5_000, 50_000_000
TOPIC = "replayed"


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """One broker that may be killed and frozen."""
    with KafkaCluster(kafka_libs()) as cluster:
        yield cluster


class Replay:
    """``stockstream replay`` of one symbol's trades at these times (ms), as a process."""

    def __init__(self, cluster: KafkaCluster, registry: Any, folder: Path, times_ms: list[int]) -> None:
        self.cluster, self.topic = cluster, f"{TOPIC}-{uuid4().hex[:8]}"
        cluster.topics.create(self.topic, 2)
        self.errors = folder / "errors"
        trades = folder / "trades.csv"
        lines = (f"{1_700_000_000_000 + at_ms},{n},1.5,1\n" for n, at_ms in enumerate(times_ms))
        trades.write_text("event_ms,trade_id,price,size\n" + "".join(lines))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")},
            "KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap,
            "SCHEMA_REGISTRY_URL": registry.url,
            "STOCKSTREAM_REPLICATION": "1",
            "STOCKSTREAM_PARTITIONS": "2",
        }
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stockstream", "replay", str(trades), "--topic", self.topic],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def written(self) -> int:
        return sum(self.cluster.topics.end_offsets(self.topic).values())

    def wait_for_stall(self) -> None:
        wait_until(lambda: "Kafka has taken nothing" in self.errors.read_text(), 60, "the replay to say that it waits")


def test_a_replay_waits_for_a_broker_and_goes_on_with_it(cluster: KafkaCluster, registry: Any, tmp_path: Path) -> None:
    times_ms = [0] * 700 + [LATER_MS] * 700 + [LATER_MS + 500] * 10
    with Replay(cluster, registry, tmp_path, times_ms) as replay:
        wait_until(lambda: replay.written() == 700, 60, "the trades of the first moment")
        cluster.kill(0)
        try:
            replay.wait_for_stall()
        finally:
            cluster.start(0)
        told, _ = replay.process.communicate(timeout=90)
        assert replay.process.returncode == 0, replay.errors.read_text()
        assert f"1,410 of 1,410 ticks written to {replay.topic}" in told
        assert len({record.value for record in cluster.topics.read(replay.topic)}) == 1410
        assert "Traceback" not in replay.errors.read_text()


def test_ctrl_c_while_the_broker_is_away_tells_what_is_not_written(
    cluster: KafkaCluster, registry: Any, tmp_path: Path
) -> None:
    times_ms = [0] * 20 + [LATER_MS] * 5 + [NIGHT_MS]
    with Replay(cluster, registry, tmp_path, times_ms) as replay:
        wait_until(lambda: replay.written() == 20, 60, "the trades of the first moment")
        cluster.pause(0)
        try:
            replay.wait_for_stall()
            replay.process.send_signal(signal.SIGINT)
            told, _ = replay.process.communicate(timeout=60)
        finally:
            cluster.resume(0)
        assert replay.process.returncode == 1
        assert f"20 of 25 ticks written to {replay.topic}" in told
        assert "interrupted" in told
        errors = replay.errors.read_text()
        assert "has not confirmed 5 of the ticks" in errors
        assert "Traceback" not in errors
