"""How long a tick takes to be in its candles, and what that costs: ``python -m bench.live``.

Ticks are written at their own pace. Latency is from the call of ``produce`` to the moment at which a consumer of the
topic ``candles`` holds a candle with that tick in it. Of the bare consumer of aiokafka, which takes its turn between,
it is to the moment at which ``getmany`` returns the tick; of the bare relay, which writes it again, to the moment at
which a consumer has it from there. All contain the producer's linger. Processor time is of the whole process. Every
candle is compared with those of a plain fold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.arrivals import Fetches, Reader, Times, of_candles, of_records
from bench.bare import READY
from bench.data import ROOT, Workload, check, load
from bench.measure import Machine, Shares, cpu_seconds, save
from bench.servers import Servers, started
from bench.worker import NOBODY, published, system_of
from stockstream.testing.system import WorkerProcess
from stockstream.testing.wait import wait_until

WARM_S = 3.0
WARM_UP_S, WARM_UP_TICKS_PER_S = 9, 1000
# The worker's latency budgets, and what a bare consumer is told that wants the same.
BUDGETS: dict[str, list[str]] = {"low": [], "thrifty": ["--wait-ms", "100", "--min-bytes", "1000000"]}


@dataclass(frozen=True, slots=True)
class Turn:
    """One system at one pace; ``cpu_share`` is of one core."""

    name: str
    ticks_per_s: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_share: float
    fetches_per_s: float
    """How often a partition's ticks were taken, few or many."""
    stolen: float
    idle: float


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=9)
    arguments.add_argument("--ticks-per-s", type=int, nargs="+", default=[1000, 10_000])
    arguments.add_argument("--rounds", type=int, default=1)
    given = arguments.parse_args()
    console, turns = Console(), []
    with started() as servers:
        # The first turn would meet a broker that is still compiling itself, which takes more than a core then.
        of_worker(
            servers, Workload(int(WARM_UP_TICKS_PER_S * (WARM_S + WARM_UP_S)), ticks_per_s=WARM_UP_TICKS_PER_S), "low"
        )
        for number in range(given.rounds):
            for pace in given.ticks_per_s:
                workload = Workload(int(pace * (WARM_S + given.seconds)), ticks_per_s=pace)
                for budget in BUDGETS:
                    for measure in (of_worker, of_bare, of_relay):
                        turn = measure(servers, workload, budget)
                        turns.append(turn)
                        console.print(f"round {number + 1}: {turn.name} at {pace:,}/s: p99 {turn.p99_ms:.0f} ms")
    console.print(table_of(turns))
    report = {"seconds": given.seconds, "turns": [asdict(turn) for turn in turns]}
    console.print(f"written to {save('live', report)}")


def of_worker(servers: Servers, workload: Workload, budget: str) -> Turn:
    data = load(workload)
    with _topic(servers) as topic:
        schema_id = servers.schema_id(topic)
        settings = {"sink_enabled": "false", "tick_topics": topic, "latency_budget": budget}
        with system_of(servers, workload, NOBODY, **settings) as system:
            worker, candles = system.start(), system.topic("candles")
            with Reader(servers.bootstrap, candles, workload.partitions) as reader:
                fetches = partial(_fetches, worker, topic)
                times, used = _feed(servers, workload, topic, schema_id, worker.pid, fetches)
                wait_until(lambda: system.progress()[0] == workload.ticks, 30, "the last tick to be committed")
                worker.stop()
                found = reader.read_all(sum(servers.topics.end_offsets(candles).values()))
            check("live", published(system), data.candles)
            return _turn(f"worker, {budget}", workload, times, of_candles(system, data, found), used)


def of_bare(servers: Servers, workload: Workload, budget: str) -> Turn:
    with _topic(servers) as topic:
        times, used, fetches = _bare(servers, workload, topic, BUDGETS[budget])
        arrivals = of_records(servers.topics.read(topic), load(workload), fetches)
        return _turn(f"bare aiokafka, {budget}", workload, times, arrivals, used)


def of_relay(servers: Servers, workload: Workload, budget: str) -> Turn:
    with _topic(servers) as topic, _topic(servers) as relayed:
        with Reader(servers.bootstrap, relayed, workload.partitions) as reader:
            times, used, _ = _bare(servers, workload, topic, [*BUDGETS[budget], "--relay", relayed])
            found = reader.read_all(workload.ticks)
        moments = np.array([(at_s, partition, 1) for at_s, partition, _ in found])
        arrivals = of_records(servers.topics.read(topic), load(workload), moments)
        return _turn(f"bare relay, {budget}", workload, times, arrivals, used)


def _bare(servers: Servers, workload: Workload, topic: str, options: list[str]) -> tuple[Times, _Used, Fetches]:
    """Have a bare consumer read what is written meanwhile; with what it fetched."""
    with tempfile.TemporaryDirectory() as folder:
        log, schema_id = Path(folder) / "log.npy", servers.schema_id(topic)
        command = [sys.executable, "-m", "bench.bare", "--bootstrap", servers.bootstrap, "--topic", topic]
        command += ["--partitions", str(workload.partitions), "--records", str(workload.ticks), "--log", str(log)]
        with subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline().strip() != READY:
                    raise RuntimeError("the bare consumer has not begun")
                times, used = _feed(servers, workload, topic, schema_id, process.pid)
                process.wait(30)
            finally:
                process.kill()
        fetches = np.load(log)
    inside = np.count_nonzero((fetches[:, 0] >= times[0] + WARM_S) & (fetches[:, 0] <= times[-1]))
    return times, replace(used, fetches_per_s=float(inside / (times[-1] - times[0] - WARM_S))), fetches


@dataclass(frozen=True, slots=True)
class _Used:
    cpu_share: float
    fetches_per_s: float
    machine: Shares


def _fetches(worker: WorkerProcess, topic: str) -> float:
    return worker.metrics()["stockstream_fetches_total"].get(topic, 0)


def _feed(
    servers: Servers, workload: Workload, topic: str, schema_id: int, pid: int, fetches: Callable[[], float] = lambda: 0
) -> tuple[Times, _Used]:
    """Have the ticks written; returns when each was produced, and what process ``pid`` used after the warming up.

    ``fetches`` tells how many it has had up to now.
    """
    load(workload)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "times.npy"
        command = [sys.executable, "-m", "bench.feed", "--bootstrap", servers.bootstrap, "--topic", topic]
        command += ["--schema-id", str(schema_id), "--ticks", str(workload.ticks)]
        command += ["--ticks-per-s", str(workload.ticks_per_s), "--times", str(file)]
        with subprocess.Popen(command, cwd=ROOT) as feed:
            ends = servers.topics
            wait_until(lambda: sum(ends.end_offsets(topic).values()), 60, "the first ticks")
            time.sleep(WARM_S)
            had, begin_s, cpu_s, machine = fetches(), time.monotonic(), cpu_seconds(pid), Machine()
            time.sleep(workload.ticks / workload.ticks_per_s - WARM_S - 0.5)
            took_s = time.monotonic() - begin_s
            used = _Used((cpu_seconds(pid) - cpu_s) / took_s, (fetches() - had) / took_s, machine.shares())
            if feed.wait(60):
                raise RuntimeError("the ticks were not written")
        return np.load(file), used


@contextmanager
def _topic(servers: Servers) -> Iterator[str]:
    """An empty topic of ticks, for as long as the context lasts."""
    name = f"bench-ticks-live-{uuid4().hex[:8]}"
    servers.topics.create(name, Workload(0).partitions)
    try:
        yield name
    finally:
        servers.topics.delete(name)


def _turn(name: str, workload: Workload, times: Times, arrivals: Times, used: _Used) -> Turn:
    """Percentiles over the ticks that were produced after the warming up."""
    measured = times >= times[0] + WARM_S
    delays_ms = np.sort((arrivals - times)[measured]) * 1000
    return Turn(
        name=name,
        ticks_per_s=workload.ticks_per_s,
        p50_ms=round(float(delays_ms[len(delays_ms) // 2]), 1),
        p99_ms=round(float(delays_ms[len(delays_ms) * 99 // 100]), 1),
        worst_ms=round(float(delays_ms[-1]), 1),
        cpu_share=round(used.cpu_share, 4),
        fetches_per_s=round(used.fetches_per_s, 1),
        **used.machine,
    )


def table_of(turns: list[Turn]) -> Table:
    table = Table("", "ticks/s", "p50 ms", "p99 ms", "worst ms", "% of a core", "CPU ms a fetch", "idle %")
    for turn in turns:
        a_fetch = f"{turn.cpu_share * 1000 / turn.fetches_per_s:.2f}"
        table.add_row(
            *(turn.name, f"{turn.ticks_per_s:,}", f"{turn.p50_ms:.1f}", f"{turn.p99_ms:.1f}", f"{turn.worst_ms:.0f}"),
            *(f"{turn.cpu_share:.1%}", a_fetch, f"{turn.idle:.0%}"),
        )
    return table


if __name__ == "__main__":
    main()
