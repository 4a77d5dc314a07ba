"""Where a worker's time goes, by layer, and how far it is from reading alone: ``python -m bench.profile``.

A sampling profiler looks at a worker at work on a backlog; two more runs on the same topic, without it, are of the
worker and of a bare loop around aiokafka's ``getmany``. A sample belongs to the layer of its innermost frame that has
one; what numpy, RocksDB and other native code do counts to the line of Python that called it.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.data import ROOT, Workload
from bench.environments import python_of
from bench.figures import cpu_us, rates
from bench.measure import Machine, Run, save
from bench.servers import Servers, started
from bench.worker import BACKLOG, NOBODY, progress_of, run_worker, system_of, wait_begun, wait_committed

SAMPLES_PER_S = 400
LAYERS = {
    "latest prices": r"core/latest|_move_latest|_move_price|newest_of",
    "encoding and sending": r"core/publish|candle_writer|tick_writer|broker/(sender|producer|batch_client|link)|"
    r"aiokafka/producer|_send|default_records.*Builder|stockstream/push",
    "fetching": r"broker/(lean_fetch|record_batches|taken|transport)|models/records|"
    r"aiokafka/(consumer|record|codec)",
    "decoding": r"stockstream/codecs|agents/intake|fastavro",
    "rows to bytes and into RocksDB": r"stockstream/tables|broker/stores|core/row\.py.*(encode|decode)|rocksdict",
    "reducing and merging": r"stockstream/core|agents/partition",
    "HTTP side": r"stockstream/web|aiohttp",
    "Faust": r"stockstream/agents|stockstream/faust_app|faust/|mode/",
    "sockets and the event loop": r"aiokafka|asyncio|selectors|socket|threading",
}
_IDLE = re.compile(r"^select \(|Selector\.select \(")
_COMPILED = {name: re.compile(pattern) for name, pattern in LAYERS.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=2_000_000)
    given = arguments.parse_args()
    python_of("tools/profile")
    workload, console = Workload(given.ticks), Console()
    with started() as servers:
        servers.candles_of(workload)
        alone = run_bare(servers, workload)
        whole, _ = run_worker(servers, workload)
        stacks = profiled(servers, workload)
    layers, lines = Counter[str](), Counter[str]()
    for stack, count in stacks.items():
        layers[layer_of(stack)] += count
        lines[re.sub(r":\d+\)$", ")", stack[-1])] += count
    total = layers.total()
    runs = {"worker": whole, "bare aiokafka": alone}
    for name, run in runs.items():
        console.print(f"{name}: {rates([run])[0]:,.0f} ticks/s, {cpu_us([run])[0]:.2f} µs a tick")
    shares = {name: round(count / total, 4) for name, count in layers.most_common()}
    functions = {name: round(count / total, 4) for name, count in lines.most_common(25)}
    report = {
        "ticks": given.ticks,
        "runs": {name: asdict(run) for name, run in runs.items()},
        "samples": total,
        "shares": shares,
        "functions": functions,
    }
    for name, share in [*shares.items(), ("", 0), *functions.items()]:
        console.print(f"{share:6.1%}  {name}", markup=False)
    console.print(f"written to {save('profile', report)}")


def run_bare(servers: Servers, workload: Workload) -> Run:
    command = [sys.executable, "-m", "bench.bare", "--bootstrap", servers.bootstrap, "--topic", workload.topic]
    command += ["--partitions", str(workload.partitions), "--records", str(workload.ticks)]
    machine = Machine()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Run(workload.ticks, found["seconds"], found["cpu_s"], found["peak_mb"], **machine.shares())


def profiled(servers: Servers, workload: Workload) -> Counter[tuple[str, ...]]:
    """How often each stack was seen while a worker did its work."""
    with (
        system_of(servers, workload, NOBODY, sink_enabled="false", **BACKLOG) as system,
        tempfile.TemporaryDirectory() as folder,
    ):
        worker = system.start(wait=False)
        file = Path(folder) / "stacks"
        with progress_of(system.bootstrap, system.id) as progress:
            wait_begun(progress, system, worker)
            with sampled(worker.pid, file):
                wait_committed(progress, workload, worker)
        stacks: Counter[tuple[str, ...]] = Counter()
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = tuple(stack.split(";"))
            if not _IDLE.search(frames[-1]):
                stacks[frames] += int(count)
    return stacks


@contextmanager
def sampled(pid: int, file: Path) -> Iterator[None]:
    """Samples of a process's threads that are at work, from here to the end of the context."""
    command = [str(python_of("tools/profile").with_name("py-spy")), "record", "--pid", str(pid), "--output", str(file)]
    command += ["--format", "raw", "--rate", str(SAMPLES_PER_S), "--duration", "600", "--nonblocking"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as profiler:
        try:
            yield
        finally:
            profiler.send_signal(signal.SIGINT)
            _, said = profiler.communicate(timeout=60)
    if not file.exists():
        raise RuntimeError(f"no profile: {said}")


def layer_of(stack: tuple[str, ...]) -> str:
    for frame in reversed(stack):
        for name, pattern in _COMPILED.items():
            if pattern.search(frame):
                return name
    return "everything else"


if __name__ == "__main__":
    main()
