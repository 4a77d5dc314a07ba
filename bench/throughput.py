"""How fast a backlog of ticks becomes durable candles: ``python -m bench.throughput``.

Starts its own broker and registry, writes the ticks once, and lets the contenders take turns, so that both meet the
same machine. Every candle of every run is compared with those of a plain fold. Prints a table, and writes it with all
that is needed to judge it into ``bench/results``. Rates say something about this machine at this hour; ratios of
adjacent runs are what can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.contenders import CONTENDERS, TICKS, Servers
from bench.data import TICKS_A_SECOND, CandleKey, Figures, Workload, check, fill
from bench.measure import Run, save
from stockstream.codecs.avro import Encoder
from stockstream.codecs.registry import Registry
from stockstream.models import TICK_SCHEMA_V2
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer

SEED = 20251120


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--symbols", type=int, default=300)
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--seed", type=int, default=SEED)
    given = arguments.parse_args()
    workload = Workload(given.ticks, given.symbols, given.partitions, given.seed)
    console = Console()
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with KafkaCluster(kafka_libs()) as kafka, RegistryServer(registry_home()) as registry:
        servers = Servers(kafka.bootstrap, registry.url)
        reference = prepare(servers, workload)
        console.print(f"{workload.ticks:,} ticks, {len(reference):,} candles")
        for number in range(given.rounds):
            order = list(CONTENDERS) if number % 2 == 0 else list(reversed(CONTENDERS))
            for name in order:
                run, found = CONTENDERS[name](servers, workload)
                check(name, found, reference)
                runs[name].append(run)
                console.print(f"round {number + 1}: {name} {workload.ticks / run.seconds:,.0f} ticks/s, all equal")
    console.print(table_of(workload, runs))
    console.print(f"written to {write(workload, len(reference), runs)}")


def prepare(servers: Servers, workload: Workload) -> dict[CandleKey, Figures]:
    """Create the topic of ticks and fill it; returns the candles to come to."""
    servers.topics.create(TICKS, workload.partitions)
    return fill(servers.bootstrap, TICKS, workload, asyncio.run(encoder(servers)))


async def encoder(servers: Servers) -> Encoder:
    registry = Registry(servers.registry_url)
    try:
        return Encoder(TICK_SCHEMA_V2, await registry.ensure(f"{TICKS}-value", TICK_SCHEMA_V2))
    finally:
        await registry.close()


def ratios(runs: dict[str, list[Run]]) -> list[float]:
    """The worker's rate over the loop's, by round."""
    return [loop.seconds / worker.seconds for worker, loop in zip(runs["worker"], runs["loop"], strict=True)]


def cpu_ratios(runs: dict[str, list[Run]]) -> list[float]:
    """The worker's processor time over the loop's, by round: what is left of the difference on a busy machine."""
    return [worker.cpu_s / loop.cpu_s for worker, loop in zip(runs["worker"], runs["loop"], strict=True)]


def table_of(workload: Workload, runs: dict[str, list[Run]]) -> Table:
    table = Table("", "ticks/s", "µs CPU a tick", "peak MB", "idle %")
    for name, each in runs.items():
        table.add_row(
            name,
            spread(workload.ticks / run.seconds for run in each),
            spread((run.cpu_s / workload.ticks * 1e6 for run in each), 1),
            spread(run.peak_mb for run in each),
            spread(run.idle * 100 for run in each),
        )
    table.add_row("worker / loop", spread(ratios(runs), 2), spread(cpu_ratios(runs), 2), "", "")
    return table


def spread(figures: Iterable[float], digits: int = 0) -> str:
    """Median, and from least to greatest."""
    known = sorted(figures)
    return f"{median(known):,.{digits}f} ({known[0]:,.{digits}f}–{known[-1]:,.{digits}f})"


def write(workload: Workload, candles: int, runs: dict[str, list[Run]]) -> Path:
    report: dict[str, object] = {
        "workload": {**asdict(workload), "candles": candles, "ticks_per_event_second": TICKS_A_SECOND},
        "median_ticks_per_s": {
            name: round(median(workload.ticks / run.seconds for run in each)) for name, each in runs.items()
        },
        "ratio_by_round": [round(ratio, 3) for ratio in ratios(runs)],
        "cpu_ratio_by_round": [round(ratio, 3) for ratio in cpu_ratios(runs)],
        "runs": {name: [asdict(run) for run in each] for name, each in runs.items()},
    }
    return save("throughput", report)


if __name__ == "__main__":
    main()
