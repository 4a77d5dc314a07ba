"""A worker leaves its group when it is stopped, whatever the group is doing."""

from __future__ import annotations

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

LONG_S = "120"  # far beyond the time after which a worker gives a stop up
PATIENCE_S = 60


def test_a_stop_does_not_wait_for_a_join_that_waits_for_others(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    settings = {"session_timeout_s": LONG_S, "rebalance_timeout_s": LONG_S, "sink_enabled": "false"}
    with System(kafka.bootstrap, registry.url, clickhouse.url, **settings) as system:
        silent, stopped = system.start("w0"), system.start("w1")
        silent.wait_ready()
        silent.pause()
        before = joins(system, stopped)
        system.start("w2", wait=False)
        wait_until(lambda: joins(system, stopped) > before, PATIENCE_S, "a join that cannot end")
        stopped.terminate()
        wait_until(lambda: stopped.exit_code is not None, PATIENCE_S, "the worker to end")
        assert stopped.exit_code == 0, stopped.log_tail()
        silent.resume()
        wait_until(lambda: system.members() == 2, PATIENCE_S, "the others to go on without it")


def joins(system: System, worker: WorkerProcess) -> int:
    """How often a worker has been told to join its group anew."""
    told = f"Heartbeat failed for group {system.id} because it is rebalancing"
    return worker.log.read_text(errors="replace").count(told)
