"""How fast rows come back from their changelogs into an empty folder, beside stock Faust in the same run.

``python -m bench.recovery``. Both measure themselves, between the same two moments of Faust's recovery: from where it
begins to read the changelogs to where everything that was in them is in RocksDB. Starting up, joining the group and
opening stores lie outside. Stock Faust has fewer rows, for it would take minutes; it takes as long for each of them.
Afterwards the stores must hold, byte for byte, what was written.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rocksdict import Options, Rdict

from bench.contenders import peer_of_its_own
from bench.data import FIRST_MS, ROOT, Workload
from bench.environments import python_of
from bench.measure import Machine, peak_mb, save
from bench.servers import Servers, started
from bench.worker import BACKLOG, NOBODY, measure, system_of
from stockstream.agents.partition import topic_id
from stockstream.core.partial import Partial
from stockstream.core.row import Row
from stockstream.tables import table_name
from stockstream.tables.rows import encode_key
from stockstream.testing.system import System, WorkerProcess

SYMBOLS = 1000
MINUTE_MS = 60_000
_TICKS = Workload(4000)  # whose offsets the rows can have been made of
_TOLD = re.compile(r"recovered: (\d+) changes of rows in ([\d.]+) s, ([\d.]+) s")
_STAMP_AT, _STAMP = 6, struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery; ``cpu_s`` is of all its process, ``start_s`` is from the start of the process until it is ready."""

    name: str
    rows: int
    seconds: float
    cpu_s: float
    start_s: float
    peak_mb: float
    idle: float

    @property
    def rows_per_s(self) -> float:
        """What is compared."""
        return self.rows / self.seconds


def main() -> None:
    """Measure both, in turns, and keep the figures."""
    arguments = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--stock-rows", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=1)
    given = arguments.parse_args()
    python_of("peers/faust")
    console, recovered = Console(), []
    with started() as servers, system_of(servers, _TICKS, NOBODY, sink_enabled="false", **BACKLOG) as system:
        rows = filled(servers, system, given.rows)
        for _ in range(given.rounds):
            recovered += [of_worker(system, "worker", rows), of_stock(servers, given.stock_rows)]
            console.print(*recovered[-2:], sep="\n")
        kept = of_worker(system, "worker, folder kept", rows, wipe=False)
    ratio = median(
        ours.rows_per_s / stock.rows_per_s for ours, stock in zip(recovered[::2], recovered[1::2], strict=True)
    )
    console.print(kept, f"{ratio:.0f} times as fast", sep="\n")
    report: dict[str, object] = {"recovery": [asdict(each) for each in recovered], "kept": asdict(kept)}
    console.print(f"written to {save('recovery', report)}")


def filled(servers: Servers, system: System, count: int) -> dict[bytes, bytes]:
    """The rows of 1m that are in the changelog, beside those of a few ticks that the worker has read."""
    servers.candles_of(_TICKS)
    worker = system.start(wait=False)
    measure(system, _TICKS, worker)
    worker.stop()
    rows = dict(_rows(count))
    servers.topics.produce(f"{system.id}-{table_name('1m')}-changelog", rows.items())
    return rows


def _rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Closed candles of all symbols, minute by minute."""
    first_ms = FIRST_MS - (count // SYMBOLS + 1) * MINUTE_MS
    bar = Partial(
        (first_ms, 1, first_ms, 100.25), (first_ms, 9, first_ms, 101.5), 102.0, 99.5, 12 * 10**8, 1210.0, 0.0, 12
    )
    row = bytearray(Row(topic_id(_TICKS.topic), 0, bar, closed=True, clock="bench|BENCH", closed_at=0).encode())
    for number in range(count):
        minute, symbol = divmod(number, SYMBOLS)
        _STAMP.pack_into(row, _STAMP_AT, number % (_TICKS.ticks // _TICKS.partitions // 2))
        yield encode_key(("1m", (f"ROWS:S{symbol:04d}", "regular"), first_ms + minute * MINUTE_MS)), bytes(row)


def of_worker(system: System, name: str, rows: dict[bytes, bytes], wipe: bool = True) -> Recovery:
    """Start it, with its folder lost or kept, and end it."""
    worker, machine = system.workers["w0"], Machine()
    if wipe:
        shutil.rmtree(worker.data)
    known, begin_s = worker.log.stat().st_size, time.monotonic()
    system.start()
    start_s, peak = time.monotonic() - begin_s, peak_mb(worker.pid)
    worker.stop()
    told = _TOLD.findall(worker.log.read_bytes()[known:].decode())
    count, seconds, cpu_s = map(float, told[0] if told else (0, 0, 0))
    _check(worker, rows)
    return Recovery(name, int(count), seconds, cpu_s, start_s, peak, machine.shares()["idle"])


def _check(worker: WorkerProcess, rows: dict[bytes, bytes]) -> None:
    found: dict[Any, Any] = {}
    for folder in worker.data.rglob(f"{table_name('1m')}-*.db"):
        store = Rdict(str(folder), options=Options(raw_mode=True))
        found.update(dict(store.items()))
        store.close()
    wrong = sum(found.get(key) != row for key, row in rows.items())
    if wrong:
        raise AssertionError(f"{wrong} rows of {len(rows)} are not in the store")


def of_stock(servers: Servers, rows: int) -> Recovery:
    """Faust's own way, with a table of one row a key."""
    with peer_of_its_own(servers.topics) as peer:
        servers.topics.create(peer.name, 4)
        servers.topics.create(f"{peer.name}-rows-changelog", 4, config={"cleanup.policy": "compact"})
        row = json.dumps([100.25, 101.5, 99.75, 100.0, 12_345.0, 100]).encode()
        keyed = ((json.dumps(f"BENCH:S{number:06d}").encode(), row) for number in range(rows))
        servers.topics.produce(f"{peer.name}-rows-changelog", keyed)
        command = [str(python_of("peers/faust")), "-m", "bench.peers.faust.recovery"]
        command += peer.arguments(servers, Workload(rows), topic=peer.name)
        begin_s, machine = time.monotonic(), Machine()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"Faust has not recovered:\n{done.stderr[-4000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        if told["rows"] != rows:
            raise AssertionError(f"Faust has recovered {told['rows']} rows of {rows}")
        idle = machine.shares()["idle"]
        return Recovery(
            "stock Faust", rows, told["seconds"], told["cpu_s"], time.monotonic() - begin_s, told["peak_mb"], idle
        )


if __name__ == "__main__":
    main()
