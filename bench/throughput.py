"""How fast a backlog of ticks becomes durable candles: ``python -m bench.throughput``.

Starts its own broker and registry, writes the ticks once, and lets the contenders take turns, so that all meet the same
machine. Every candle of every run is compared with those of a plain fold. Rates say something about this machine at
this hour; ratios of adjacent runs are what can be compared.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.contenders import CONTENDERS, WORKER, Contender
from bench.data import SEED, Workload, check
from bench.figures import cpu_us, rates, ratios, spread
from bench.measure import Run, save
from bench.servers import Servers, started

Runs = dict[str, list[Run]]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--symbols", type=int, default=300)
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--ticks-per-s", type=int, default=100, help="of event time, over all symbols")
    arguments.add_argument("--seed", type=int, default=SEED)
    names = [each.name for each in CONTENDERS]
    arguments.add_argument("--only", nargs="+", choices=names, help="some of them; nothing is saved then")
    given = arguments.parse_args()
    workload = Workload(given.ticks, given.symbols, given.partitions, given.seed, given.ticks_per_s)
    wanted = [each for each in CONTENDERS if given.only is None or each.name in given.only]
    for contender in wanted:
        contender.needs()
    console = Console()
    with started() as servers:
        runs = take_turns(servers, workload, wanted, given.rounds, console)
        candles = len(servers.candles_of(workload))
    console.print(table_of(runs))
    if given.only is None:
        console.print(f"written to {save('throughput', report_of(workload, candles, runs))}")


def take_turns(
    servers: Servers, workload: Workload, contenders: list[Contender], rounds: int, console: Console
) -> Runs:
    """Run every contender in each of its rounds, every other round in reverse."""
    runs: Runs = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        taking_part = [contender for contender in contenders if number < contender.rounds]
        for contender in taking_part if number % 2 == 0 else reversed(taking_part):
            part = replace(workload, ticks=min(workload.ticks, contender.at_most))
            reference = servers.candles_of(part)
            run, found = contender.run(servers, part)
            check(contender.name, found, reference)
            runs[contender.name].append(replace(run, round=number))
            told = f"{part.ticks / run.seconds:,.0f} ticks/s, {len(found):,} candles, all equal"
            console.print(f"round {number + 1}: {contender.name}: {told}")
    return runs


def table_of(runs: Runs) -> Table:
    table = Table("", "ticks/s", "µs CPU a tick", "peak MB", "idle %", "worker's rate over it")
    for name, each in runs.items():
        over = spread(ratios(runs, WORKER, name), 1) if WORKER in runs and name != WORKER else ""
        table.add_row(
            name,
            spread(rates(each)),
            spread(cpu_us(each), 1),
            spread(run.peak_mb for run in each),
            spread(run.idle * 100 for run in each),
            over,
        )
    return table


def report_of(workload: Workload, candles: int, runs: Runs) -> dict[str, object]:
    return {
        "workload": {**asdict(workload), "candles": candles},
        "median_ticks_per_s": {name: round(median(rates(each))) for name, each in runs.items()},
        "runs": {name: [asdict(run) for run in each] for name, each in runs.items()},
    }


if __name__ == "__main__":
    main()
