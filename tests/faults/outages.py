"""Every outage by itself: what stockstream lives on is away, full, slow or wrong for a while, and comes back.

See docs/faults.md, "Outages".
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.judge import judge_clickhouse
from faults.outage import Outcome, trial
from faults.run import Servers

from stockstream.testing.clickhouse import FaultMode
from stockstream.testing.process import HOST, ServerProcess, free_ports, http_status
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

HOUR_TICKS = 211_765
"""So many ticks of the load are an hour of event time."""
_FOR_EVER = 1_000_000_000


def clickhouse_away(servers: Servers) -> Outcome:
    """An hour of ticks while nobody listens at ClickHouse's port, and one of the workers is killed meanwhile."""
    most_rows = 50_000
    with trial(servers, "clickhouse-away", sink_max_rows=str(most_rows)) as under:
        under.join("w0", "w1")
        under.begin(HOUR_TICKS, 80)
        under.until_sent(0.05)
        servers.clickhouse.stop()
        try:
            under.until_said("start it, or set CLICKHOUSE_URL")
            under.until_sent(0.5)
            under.must(
                "candles go on: no worker is more than a second's ticks behind", _behind(under.system.progress())
            )
            under.system.workers["w1"].kill()
            under.end_load()
            under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
            under.until_ready()
            under.until_said("start it, or set CLICKHOUSE_URL")
            waiting = [_waiting_rows(told) for *_, wrong in under.watch.ready for told in wrong.values()]
            under.outcome.figures["most rows held by a worker"] = max(waiting)
            # what was fetched already when it became full is still taken
            under.must(f"no worker holds more than {most_rows} rows and a fetch", max(waiting) <= 1.5 * most_rows)
        finally:
            servers.clickhouse.start()
        under.judge()
    return under.outcome


def clickhouse_slow(servers: Servers) -> Outcome:
    """Each insert takes four seconds."""
    with trial(servers, "clickhouse-slow") as under:
        under.join("w0", "w1")
        servers.clickhouse.fault(FaultMode.SLOW, _FOR_EVER, 4, "INSERT")
        under.begin(40_000, 40)
        under.until_sent(0.9)
        under.must("candles go on: no worker is more than a second's ticks behind", _behind(under.system.progress()))
        under.end_load()
        servers.clickhouse.clear()
        under.judge()
    return under.outcome


def _clickhouse_refuses(name: str, mode: FaultMode, text: str) -> Callable[[Servers], Outcome]:
    def refused(servers: Servers) -> Outcome:
        with trial(servers, name) as under:
            under.join("w0", "w1")
            under.begin(30_000, 30)
            under.until_sent(0.1)
            servers.clickhouse.fault(mode, _FOR_EVER, match="INSERT")
            under.until_said(text)
            under.end_load()
            under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
            under.must("reads of ClickHouse work", under.system.sql("SELECT count() FROM candles")[0][0])
            under.must("the worker stays ready", under.worker.get("/health/ready")[0] == 200)
            servers.clickhouse.clear()
            under.judge()
        return under.outcome

    return refused


def rocksdb_full(servers: Servers) -> Outcome:
    """No room on the disk that the stores lie on, while ticks come and at the starts that follow."""
    with trial(servers, "rocksdb-full") as under, _small_disk(under.system.root / "w0", "512m") as disk:
        under.join("w0")
        under.begin(30_000, 30)
        disk.fill()
        under.until_logged("make room on their disk, or mend it, and start again")
        under.until("the worker ended with exit code 1", lambda: under.worker.exit_code == 1)
        under.until("and so did the start after it", lambda: under.stage.ends.total() >= 2)
        under.end_load()
        disk.clear()
        under.until_ready()
        under.judge()
        under.must("it ended with no other code", all(end.startswith(("1:", "0")) for end in under.stage.ends))
    return under.outcome


def embedded_full(servers: Servers) -> Outcome:
    """No room on the disk of the engine that is embedded in the worker."""
    with trial(servers, "embedded-full") as under, _small_disk(under.system.root / "engine", "256m") as disk:
        engine = disk.folder / "clickhouse"
        under.system.environment["CLICKHOUSE_URL"] = f"chdb://{engine}"
        under.join("w0")
        under.begin(30_000, 30)
        under.until_sent(0.2)
        disk.fill()
        under.until_said("make room on its disk")
        under.end_load()
        under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
        under.must("the worker stays ready", under.worker.get("/health/ready")[0] == 200)
        disk.clear()
        expected = under.judge(is_embedded=True)
        with _serving(under.system, engine):
            under.outcome.places |= judge_clickhouse(under.system, expected)
    return under.outcome


class _SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self) -> None:
        """Leave no room, not even for a byte."""
        block = bytes(1 << 20)
        with self._ballast.open("ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def clear(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[_SmallDisk]:
    """A file system of its own in memory, of so many bytes; to mount it is for root."""
    folder.mkdir(parents=True)
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield _SmallDisk(folder)
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


@contextmanager
def _serving(system: System, engine: Path) -> Iterator[None]:
    """Have a system's ClickHouse be what an engine that was embedded has left."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "stockstream.testing.clickhouse", str(engine), str(port)]
    server = ServerProcess(command, system.root / "clickhouse.log", os.environ | {"TZ": "UTC"})
    server.start()
    try:
        wait_until(lambda: http_status(port, "GET", "/ping") == 200, 60, "the engine's data to be served")
        system.clickhouse_url = f"http://{HOST}:{port}"
        yield
    finally:
        server.stop()


OUTAGES: dict[str, Callable[[Servers], Outcome]] = {
    "clickhouse-away": clickhouse_away,
    "clickhouse-slow": clickhouse_slow,
    "clickhouse-full": _clickhouse_refuses("clickhouse-full", FaultMode.FULL, "make room on its disk"),
    "clickhouse-read-only": _clickhouse_refuses("clickhouse-read-only", FaultMode.READ_ONLY, "takes no writes for now"),
    "rocksdb-full": rocksdb_full,
    "embedded-full": embedded_full,
    "clickhouse-read-only-user": _clickhouse_refuses(
        "clickhouse-read-only-user", FaultMode.READ_ONLY_USER, "its user may only read"
    ),
}


def run_outages(servers: Servers, names: Iterable[str]) -> Iterator[Outcome]:
    """Run those of these names (all), one after the other."""
    for name in names or OUTAGES:
        yield OUTAGES[name](servers)


def _is_even(progress: tuple[int, int]) -> bool:
    committed, end = progress
    return committed == end


def _behind(progress: tuple[int, int], ticks: int = 10_000) -> bool:
    committed, end = progress
    return end - committed <= ticks


def _waiting_rows(told: str) -> int:
    """The rows that a worker holds, by what it says of its sink."""
    words = told.replace(",", "").split()
    return int(words[words.index("waiting") - 1]) if "waiting" in words else 0
