"""What a worker lives on fails while it runs; ``python -m faults --outages`` has all of them, and longer."""

from __future__ import annotations

import asyncio
import copy
import resource
from dataclasses import asdict

from load import SYMBOLS, expectation, last_trades, market
from oracle import assert_candles
from places import by_tables

from stockstream.codecs.avro import Encoder
from stockstream.codecs.registry import Registry
from stockstream.models import TICK_SCHEMA_V2
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

TICKS = 6000
QUIET = {"partitions": "2", "sink_enabled": "false"}


def test_a_disk_that_takes_nothing_more_ends_the_worker_with_a_line_and_loses_nothing(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    ticks = list(market(11, TICKS))
    with System(kafka.bootstrap, registry.url, clickhouse.url, **QUIET) as system:
        worker = system.start()
        system.produce(ticks[: TICKS // 2])
        system.wait_drained(sink=False)
        logged = worker.log.stat().st_size
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (logged + 16_384, resource.RLIM_INFINITY))
        system.produce(ticks[TICKS // 2 :])
        wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
        assert worker.exit_code == 1
        line = worker.log_tail().splitlines()[-1]
        assert line.startswith(f"stockstream: the stores in {worker.data}")
        assert line.endswith("File too large): make room on their disk, or mend it, and start again")
        worker.start()
        system.produce(last_trades())
        system.wait_drained(sink=False)
        worker.wait_ready()
        expected = expectation(system)
        assert_candles(expected, by_tables(worker, SYMBOLS), "the tables")
        assert_candles(expected, system.candles_topic(), "the candles topic")


def test_a_record_whose_schema_cannot_be_asked_for_waits_and_ready_says_so(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    ticks = list(market(12, TICKS))
    with System(kafka.bootstrap, registry.url, clickhouse.url, **QUIET) as system:
        worker = system.start()
        encode = encoder_with_a_field_more(system)
        system.produce(ticks[: TICKS // 3])
        system.wait_drained(sink=False)
        registry.pause()
        try:
            unknown = [(tick.symbol.encode(), encode(asdict(tick) | {"note": None})) for tick in ticks[TICKS // 3 :]]
            system.topics.produce(system.topic("yfinance"), unknown)
            wait_until(lambda: told_of_registry(worker).startswith("waiting for schema"), 30, "the worker to say so")
            assert worker.get("/health/ready")[0] == 200
            committed, end = system.progress()
            assert committed < end
        finally:
            registry.resume()
        system.produce(last_trades())
        system.wait_drained(sink=False)
        assert told_of_registry(worker) == ""
        expected = expectation(system)
        assert_candles(expected, by_tables(worker, SYMBOLS), "the tables")
        assert_candles(expected, system.candles_topic(), "the candles topic")


def encoder_with_a_field_more(system: System) -> Encoder:
    schema = copy.deepcopy(TICK_SCHEMA_V2)
    schema["fields"].append({"name": "note", "type": ["null", "string"], "default": None})

    async def register() -> int:
        registry = Registry(system.registry_url)
        try:
            return await registry.ensure(f"{system.topic('others')}-value", schema)
        finally:
            await registry.close()

    return Encoder(schema, asyncio.run(register()))


def told_of_registry(worker: WorkerProcess) -> str:
    checks = worker.get("/health/ready")[1]["checks"]
    return str(next(check["detail"] for check in checks if check["name"] == "registry"))
