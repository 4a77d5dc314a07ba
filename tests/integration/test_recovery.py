"""Rows that come back from their changelogs, whatever the group does meanwhile."""

from __future__ import annotations

from load import SYMBOLS, expectation, last_trades, market
from oracle import assert_candles
from places import by_tables

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

TICKS = 6000


def test_a_recovery_right_after_another_one_is_complete(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    ticks = list(market(7, TICKS))
    with System(kafka.bootstrap, registry.url, clickhouse.url, standby_replicas="0", sink_enabled="false") as system:
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
