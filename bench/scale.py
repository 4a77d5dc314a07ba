"""What a tick costs as symbols and partitions grow, and what a symbol occupies.

``python -m bench.scale``. With many symbols every fetch holds fewer ticks of each; to see what their number costs by
itself, each symbol sends twenty ticks in a row here, and one partition's fetch holds fewer symbols than there are: the
same ticks a candle and the same candles a fetch at every size.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

from rich.console import Console

from bench.data import Workload, check
from bench.figures import cpu_us, rates
from bench.measure import Run, rss_mb, save
from bench.servers import Servers, started
from bench.worker import BACKLOG, NOBODY, measure, published, system_of

BURST = 20
# Some 4,500 ticks: fewer bursts than the fewest symbols, so that a fetch holds none of them twice.
FETCH = {"partition_fetch_bytes": "131072"}
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


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=500_000)
    arguments.add_argument("--symbols", type=int, nargs="+", default=SYMBOLS)
    arguments.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS)
    given = arguments.parse_args()
    console = Console()
    sizes: list[Size] = []
    with started() as servers:
        sizes_to_run = [(number, 1) for number in given.symbols]
        sizes_to_run += [(SYMBOLS_OF_PARTITIONS, number) for number in given.partitions]
        workloads = [
            Workload(max(given.ticks, symbols * BURST), symbols, partitions, burst=BURST)
            for symbols, partitions in sizes_to_run
        ]
        for workload in workloads:
            size = run(servers, workload)
            sizes.append(size)
            console.print(size)
    console.print(f"written to {save('scale', {'burst': BURST, 'sizes': [asdict(size) for size in sizes]})}")


def run(servers: Servers, workload: Workload) -> Size:
    """The worker over one workload."""
    reference = servers.candles_of(workload)
    with system_of(servers, workload, NOBODY, sink_enabled="false", **BACKLOG, **FETCH) as system:
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
    servers.topics.delete(workload.topic)
    del servers.filled[workload.topic]
    return size


if __name__ == "__main__":
    main()
