"""What a tick costs as symbols and partitions grow, what a symbol occupies, and how fast a lost store comes back.

``python -m bench.scale``. With many symbols every fetch holds fewer ticks of each; to see what their number costs by
itself, each symbol sends twenty ticks in a row here, and one partition's fetch holds fewer symbols than there are: the
same ticks a candle and the same candles a fetch at every size. Recovery is from the changelogs on the broker into an
empty folder, less the same start on a folder that is whole; beside it, in the same run, that of stock Faust, less the
same start with nothing to recover.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass

from rich.console import Console

from bench.contenders import peer_of_its_own
from bench.data import ROOT, Workload, check
from bench.environments import python_of
from bench.figures import cpu_us, rates
from bench.measure import Run, cpu_seconds, rss_mb, save
from bench.servers import Servers, started
from bench.worker import BACKLOG, NOBODY, measure, published, system_of
from stockstream.testing.system import System

BURST = 20
SYMBOLS = (300, 1_000, 10_000, 100_000)
PARTITIONS = (4, 48)
SYMBOLS_OF_PARTITIONS = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """One run at one size; bytes on disk are of all stores."""

    ticks: int
    symbols: int
    partitions: int
    rows: int
    ticks_per_s: float
    cpu_us_a_tick: float
    rss_mb: float
    disk_bytes: int
    idle: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """A start with everything to be read back, less one with nothing."""

    name: str
    rows: int
    seconds: float
    cpu_s: float


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=500_000)
    arguments.add_argument("--symbols", type=int, nargs="+", default=SYMBOLS)
    arguments.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS)
    arguments.add_argument("--stock-rows", type=int, default=50_000)
    given = arguments.parse_args()
    python_of("peers/faust")
    console = Console()
    sizes: list[Size] = []
    with started() as servers:
        sizes_to_run = [(number, 1) for number in given.symbols]
        sizes_to_run += [(SYMBOLS_OF_PARTITIONS, number) for number in given.partitions]
        workloads = [
            Workload(max(given.ticks, symbols * BURST), symbols, partitions, burst=BURST)
            for symbols, partitions in sizes_to_run
        ]
        recovered: list[Recovery] = []
        for workload in workloads:
            most = workload.symbols == max(given.symbols)
            size = run(servers, workload, recovered if most else None)
            sizes.append(size)
            console.print(size)
        recovered.append(of_stock(servers, given.stock_rows))
    for recovery in recovered:
        console.print(recovery, f"{recovery.seconds / recovery.rows * 1e6:.1f} s a million rows")
    report = {"sizes": [asdict(size) for size in sizes], "recovery": [asdict(each) for each in recovered]}
    console.print(f"written to {save('scale', {'burst': BURST, **report})}")


def run(servers: Servers, workload: Workload, recovered: list[Recovery] | None) -> Size:
    """The worker over one workload; with ``recovered`` its store is lost afterwards, and what that took is appended."""
    reference = servers.candles_of(workload)
    with system_of(servers, workload, NOBODY, sink_enabled="false", **BACKLOG) as system:
        worker = system.start(wait=False)
        measured: Run = measure(system, workload, worker)
        held_mb = rss_mb(worker.pid)
        worker.stop()
        check("scale", published(system), reference)
        size = Size(
            ticks=workload.ticks,
            symbols=workload.symbols,
            partitions=workload.partitions,
            rows=len(reference),
            ticks_per_s=rates([measured])[0],
            cpu_us_a_tick=cpu_us([measured])[0],
            rss_mb=held_mb,
            disk_bytes=sum(file.stat().st_size for file in worker.data.rglob("*") if file.is_file()),
            idle=measured.idle,
        )
        if recovered is not None:
            recovered.append(of_worker(servers, system))
    servers.topics.delete(workload.topic)
    del servers.filled[workload.topic]
    return size


def of_worker(servers: Servers, system: System) -> Recovery:
    logs = [name for name in servers.topics.names() if name.startswith(system.id) and name.endswith("-changelog")]
    _start(system)  # closes what has ended meanwhile
    kept_s, kept_cpu_s = _start(system)
    shutil.rmtree(system.workers["w0"].data)
    seconds, cpu_s = _start(system)
    rows = sum(len(servers.topics.read(log)) for log in logs)
    return Recovery("worker", rows, seconds - kept_s, cpu_s - kept_cpu_s)


def _start(system: System) -> tuple[float, float]:
    """Time and processor time until the worker is ready."""
    begin_s = time.monotonic()
    worker = system.start()
    took = time.monotonic() - begin_s, cpu_seconds(worker.pid)
    worker.stop()
    return took


def of_stock(servers: Servers, rows: int) -> Recovery:
    """Faust's own way, with a table of one row a key."""
    took = []
    for count in (0, rows):
        with peer_of_its_own(servers.topics) as peer:
            servers.topics.create(peer.name, 4)
            servers.topics.create(f"{peer.name}-rows-changelog", 4, config={"cleanup.policy": "compact"})
            row = json.dumps([100.25, 101.5, 99.75, 100.0, 12_345.0, 100]).encode()
            keyed = ((json.dumps(f"BENCH:S{number:06d}").encode(), row) for number in range(count))
            servers.topics.produce(f"{peer.name}-rows-changelog", keyed)
            workload = Workload(count)
            command = [str(python_of("peers/faust")), "-m", "bench.peers.faust.recovery"]
            command += peer.arguments(servers, workload, topic=peer.name)
            begin_s = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
            seconds = time.monotonic() - begin_s
            if done.returncode:
                raise RuntimeError(f"Faust has not recovered:\n{done.stderr[-4000:]}")
            told = json.loads(done.stdout.splitlines()[-1])
            if told["rows"] != count:
                raise AssertionError(f"Faust has recovered {told['rows']} rows of {count}")
            took.append((seconds, told["cpu_s"]))
    return Recovery("stock Faust", rows, took[1][0] - took[0][0], took[1][1] - took[0][1])


if __name__ == "__main__":
    main()
