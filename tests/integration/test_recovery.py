"""Rows that come back from their changelogs, whatever the group does meanwhile."""

from __future__ import annotations

import os
import sys

from faults.run import SWITCHES
from load import SYMBOLS, expectation, last_trades, market
from oracle import assert_candles
from places import by_tables

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

TICKS = 6000


def test_a_recovery_right_after_another_one_is_complete(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    ticks = list(market(7, TICKS))
    settings = {"partitions": "12", "standby_replicas": "0", "sink_enabled": "false"}
    with System(kafka.bootstrap, registry.url, clickhouse.url, **settings) as system:
        system.start("w0")
        second = system.start("w1")
        system.produce(ticks[: TICKS // 2])
        system.wait_drained(sink=False)
        system.kill("w0", wipe=True)
        first = system.start("w0")  # recovers half of the rows
        second.stop()  # and, moments later, the other half
        system.produce(ticks[TICKS // 2 :])
        system.produce(last_trades())
        system.wait_drained(sink=False)
        first.wait_ready()
        expected = expectation(system)
        assert_candles(expected, by_tables(first, SYMBOLS), "the tables")
        assert_candles(expected, system.candles_topic(), "the candles topic")


def test_partitions_that_come_without_their_tables_are_not_worked_on(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    """A worker that is stopped while it starts may join without them, and its place is kept by its name."""
    ticks = list(market(8, TICKS))
    settings = {"partitions": "12", "sink_enabled": "false"}
    with System(kafka.bootstrap, registry.url, clickhouse.url, **settings) as system:
        first = system.start("w0")
        system.produce(ticks[: TICKS // 2])
        system.wait_drained(sink=False)
        usual = dict(system.environment)
        system.environment |= {
            "FAULTS_OFF": "late_tables",
            "PYTHONPATH": os.pathsep.join([str(SWITCHES), *sys.path]),
        }
        second = system.start("w1", wait=False)
        system.environment = usual
        wait_until(lambda: b"came without their tables" in second.log.read_bytes(), 60, "the worker to say so")
        system.produce(ticks[TICKS // 2 :])
        assert second.get("/health/ready")[0] != 200
        second.kill()
        system.produce(last_trades())
        system.wait_drained(sink=False)
        first.wait_ready()
        expected = expectation(system)
        assert_candles(expected, by_tables(first, SYMBOLS), "the tables")
        assert_candles(expected, system.candles_topic(), "the candles topic")
