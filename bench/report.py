"""The tables of docs/performance.md from the latest results: ``python -m bench.report``, ``--write`` to put them there.

In the document each table stands between a pair of comments that name it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from bench.data import ROOT
from bench.environments import python_of
from bench.figures import cpu_us, rates, ratios, spread
from bench.measure import RESULTS, Run

DOCUMENT = ROOT / "docs" / "performance.md"
IMAGE = ROOT / "docs" / "images" / "throughput.svg"
WORKER = "worker"

Figures = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.splitlines()[0])
    arguments.add_argument("--write", action="store_true", help="into docs/performance.md, with the plot")
    given = arguments.parse_args()
    tables = {name: table(read(name)) for name, table in TABLES.items() if (RESULTS / f"{name}.json").exists()}
    if not given.write:
        print("\n\n".join(tables.values()))
        return
    text = DOCUMENT.read_text()
    for name, table in tables.items():
        text, found = re.subn(
            rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)",
            lambda block, table=table: f"{block[1]}\n{table}\n\n{block[2]}",  # type: ignore[misc]  # as a default
            text,
            flags=re.DOTALL,
        )
        if not found:
            raise LookupError(f"{DOCUMENT.name} has no place for {name}")
    DOCUMENT.write_text(text)
    drawing = [str(python_of("tools/plot")), "-m", "bench.tools.plot", str(RESULTS / "throughput.json"), str(IMAGE)]
    subprocess.run(drawing, cwd=ROOT, check=True)


def read(name: str) -> Figures:
    found: Figures = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def throughput(found: Figures) -> str:
    runs = {name: [Run(**run) for run in each] for name, each in found["runs"].items()}
    rows = []
    for name, each in sorted(runs.items(), key=lambda item: -max(rates(item[1]))):
        over = "" if name == WORKER else spread(ratios(runs, WORKER, name), 2)
        rows.append(
            (
                f"**{name}**" if name == WORKER else name,
                f"{each[0].ticks:,} × {len(each)}",
                spread(rates(each)),
                spread(cpu_us(each), 2),
                spread(run.peak_mb for run in each),
                f"{min(run.idle for run in each):.0%}",
                over,
            )
        )
    head = (
        "",
        "ticks × runs",
        "ticks/s",
        "µs of processor time a tick",
        "peak MB",
        "least idle",
        "worker's rate over it",
    )
    workload = found["workload"]
    return (
        f"{told(found)} {workload['symbols']} symbols, {workload['partitions']} partitions, "
        f"{workload['candles']:,} candles of {workload['ticks']:,} ticks. Median (least–greatest):\n\n"
        f"{grid(head, rows)}"
    )


def live(found: Figures) -> str:
    rows = []
    for turn in sorted(found["turns"], key=lambda turn: (turn["ticks_per_s"], turn["name"])):
        a_fetch = f"{turn['cpu_share'] * 1000 / turn['fetches_per_s']:.2f}"
        rows.append(
            (
                turn["name"],
                f"{turn['ticks_per_s']:,}",
                *(f"{turn[name]:.0f}" for name in ("p50_ms", "p99_ms", "worst_ms")),
                f"{turn['cpu_share']:.1%}",
                a_fetch,
                f"{turn['idle']:.0%}",
            )
        )
    head = ("", "ticks/s", "p50 ms", "p99 ms", "worst ms", "of a core", "ms of processor time a fetch", "idle")
    return f"{told(found)} {found['seconds']} s each.\n\n{grid(head, rows)}"


def scale(found: Figures) -> str:
    sizes = [
        (
            f"{size['symbols']:,}",
            f"{size['partitions']}",
            f"{size['ticks']:,}",
            f"{size['rows']:,}",
            f"{size['ticks_per_s']:,.0f}",
            f"{size['cpu_us_a_tick']:.2f}",
            f"{size['rss_mb']:.0f}",
            f"{size['disk_bytes'] / 1e6:.0f}",
        )
        for size in found["sizes"]
    ]
    head = (
        "symbols",
        "partitions",
        "ticks",
        "candles",
        "ticks/s",
        "µs of processor time a tick",
        "RSS MB",
        "on disk MB",
    )
    return f"{told(found)} Each symbol sends {found['burst']} ticks in a row.\n\n{grid(head, sizes)}"


def recovery(found: Figures) -> str:
    runs = [*found["recovery"], found["kept"]]
    rows = [
        (
            each["name"],
            f"{each['rows']:,}",
            f"{each['seconds']:.2f}",
            f"{each['rows'] / each['seconds']:,.0f}" if each["rows"] > FEW else "",
            f"{each['cpu_s'] / each['rows'] * 1e6:.1f}" if each["rows"] > FEW else "",
            *(f"{each[field]:.1f}" for field in ("start_s", "peak_mb")),
            f"{each['idle']:.0%}",
        )
        for each in runs
    ]
    longer, dearer = (
        median(
            stock[cost] / stock["rows"] / (ours[cost] / ours["rows"])
            for ours, stock in zip(found["recovery"][::2], found["recovery"][1::2], strict=True)
        )
        for cost in ("seconds", "cpu_s")
    )
    head = ("", "changes", "s", "a second", "µs of processor time each", "s from start to ready", "peak MB", "idle")
    return (
        f"{told(found)}\n\n{grid(head, rows)}\n\n"
        f"A row takes stock Faust {longer:.0f} times as long, and {dearer:.0f} times the processor time."
    )


def profile(found: Figures) -> str:
    runs = {name: Run(**run) for name, run in found["runs"].items()}
    ways = [(name, f"{rates([run])[0]:,.0f}", f"{cpu_us([run])[0]:.2f}") for name, run in runs.items()]
    shares = [(name, f"{share:.0%}") for name, share in found["shares"].items() if share >= 0.005]
    return (
        f"{told(found)} {found['ticks']:,} ticks.\n\n{grid(('', 'ticks/s', 'µs of processor time a tick'), ways)}\n\n"
        f"{grid(('layer', 'share of samples'), shares)}"
    )


def ingest(found: Figures) -> str:
    rows = []
    for pace in found["paces"]:
        ticks_per_s = f"{pace['load']['ticks_per_s']:,}"
        for name, each in pace["runs"].items():
            cost, *others = (
                spread((run[field] for run in each), 0) for field in ("cpu_us_a_tick", "p50_ms", "p99_ms", "peak_mb")
            )
            ratio = pace["cpu_ratio_by_round"].get(name)
            full = f"{1e6 / median(run['cpu_us_a_tick'] for run in each):,.0f}"
            rows.append((name, ticks_per_s, cost, "" if ratio is None else f"**{spread(ratio, 1)}**", full, *others))
    head = ("", "ticks/s", "µs of processor time a tick", "over ours", "ticks/s that fill a core")
    return f"{told(found)} Median (least–greatest):\n\n{grid((*head, 'p50 ms', 'p99 ms', 'peak MB'), rows)}"


FEW = 10_000
"""So many changes are read within one fetch: their rate says nothing."""

TABLES: dict[str, Callable[[Figures], str]] = {
    "throughput": throughput,
    "live": live,
    "scale": scale,
    "recovery": recovery,
    "profile": profile,
    "ingest": ingest,
    "ingest_binance": ingest,
    "ingest_finnhub": ingest,
    "ingest_ssi": ingest,
}


def told(found: Figures) -> str:
    """When, on what machine, with which versions."""
    machine, versions = found["machine"], found["versions"]
    return (
        f"{found['date'][:10]}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, Python {versions['python']}, "
        f"Kafka {versions['kafka']}, commit {versions['commit']}."
    )


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
