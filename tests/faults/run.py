"""Runs one plan on servers and judges what has come of it."""

from __future__ import annotations

import os
import time
import traceback
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.judge import judge_clickhouse, judge_cold, judge_running
from faults.plan import Plan
from faults.report import NOT_READ, Report, Result
from faults.silence import silences
from faults.stage import Stage
from load import Load, expectation, last_trades, market

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

PATIENCE_S = 120
PARTITIONS = 6
SWITCHES = Path(__file__).parent / "switches"
_KAFKA = {"group.min.session.timeout.ms": "1000"}


class Servers:
    """A registry and a ClickHouse for all plans; each plan has Kafka for itself."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.registry = stack.enter_context(RegistryServer(registry_home()))
            self.clickhouse = stack.enter_context(ClickHouseFacade())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


_NOTED = {"out of turn, read again": ", reading again", "put out while writing": "put out of the group while writing"}


def run(plan: Plan, servers: Servers) -> Report:
    """Do what the plan says; nothing is raised for what the system does wrong."""
    began_s, report = time.monotonic(), Report(plan)
    servers.clickhouse.clear()
    with KafkaCluster(kafka_libs(), plan.brokers, _KAFKA) as kafka:
        system = System(
            kafka.bootstrap, servers.registry.url, servers.clickhouse.url, partitions=str(PARTITIONS), **plan.settings
        )
        if plan.off:
            system.environment |= {
                "FAULTS_OFF": ",".join(plan.off),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(SWITCHES), os.environ.get("PYTHONPATH")])),
            }
        try:
            with system:
                _run(plan, Stage(system, kafka, servers.clickhouse, plan.is_static), report)
                if report.result is not Result.EQUAL:
                    raise _Wrong  # has the system keep its logs
        except _Wrong:
            report.logs = system.root
        except Exception as error:
            report.failure, report.logs = f"{error!r}{places(error)}", system.root
    report.took_s = time.monotonic() - began_s
    return report


def places(error: Exception) -> str:
    """Where of our own code an error came from; some have no message."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "site-packages" not in frame.filename]
    return f" at {', '.join(ours[-4:])}"


class _Wrong(Exception):
    pass


def _run(plan: Plan, stage: Stage, report: Report) -> None:
    system = stage.system
    for name in plan.workers:
        stage.join(name)
    stage.tend_until(lambda: is_ready(stage), PATIENCE_S, "the first workers")
    events_ms: list[int] = []
    load = Load(system, market(plan.seed, plan.ticks, plan.late, plan.has_ids), plan.ticks, plan.load_s)
    try:
        began_s = time.monotonic()
        for step in plan.steps:
            stage.tend_until(lambda at_s=step.at_s: time.monotonic() - began_s >= at_s, PATIENCE_S, "a step's time")
            if plan.is_patient:
                stage.tend_until(lambda: is_ready(stage), PATIENCE_S, "all workers to be ready for a step")
            events_ms.append(_now_ms())
            stage.do(step)
        stage.tend_until(lambda: load.has_sent(1) and stage.is_whole(), PATIENCE_S, "the load's end")
        end_ms = _now_ms()
    finally:
        load.stop()
    stage.clickhouse.clear()
    system.produce(last_trades())
    stage.tend_until(system.is_drained, plan.patience_s, NOT_READ)
    stage.tend_until(lambda: is_ready(stage), plan.patience_s, "all workers to be ready")
    report.events = list(zip(plan.steps, silences(events_ms, _writes(system), end_ms), strict=True))
    expected = expectation(system)
    report.candles = len(expected)
    report.places = judge_running(system, stage.workers[0], expected) | judge_clickhouse(system, expected)
    stage.stop()
    report.places |= judge_cold(system, expected)
    report.ends = dict(sorted(stage.ends.items()))
    report.failure = "; ".join(stage.unexpected)
    logs = "".join(worker.log.read_text(errors="replace") for worker in system.workers.values())
    report.noted = {name: count for name, text in _NOTED.items() if (count := logs.count(text))}


def is_ready(stage: Stage) -> bool:
    """Whether every worker that is to run is ready; raises what ended one as none should."""
    if stage.unexpected:
        raise RuntimeError(stage.unexpected[0])
    return all(worker.running and worker.get("/health/ready")[0] == 200 for worker in stage.workers)


def _writes(system: System) -> dict[int, list[int]]:
    """When each partition of the topic ``candles`` was written to."""
    times: dict[int, list[int]] = defaultdict(list)
    for record in system.topics.read(system.topic("candles")):
        times[record.partition].append(record.timestamp_ms)
    return {partition: sorted(found) for partition, found in times.items()}


def _now_ms() -> int:
    return int(time.time() * 1000)
