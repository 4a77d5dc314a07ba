"""``python -m faults.soak``: a worker at an even pace for long; what its memory, descriptors and lag do meanwhile."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from faults.results import save
from faults.run import PARTITIONS, PATIENCE_S, Servers
from load import FLUSH_MS, Load, last_trades, market
from places import by_sql

from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.system import System, WorkerProcess

MINUTES, TICKS_PER_S = 30.0, 2000
_LOOK_EVERY_S = 10.0
_MOST_GROWTH = 0.05
_MOST_MORE_DESCRIPTORS = 5
_MOST_LAG_S = 5.0
_BATCH = 1000

Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a worker held at one moment; ``lag_ticks`` are those that are in the log and not committed.

    ``memtables_mb`` is what RocksDB holds in memory before it writes files: as much as its write-ahead logs. It grows
    up to a bound, 8 MB a store, and would look like a leak.
    """

    at_s: float
    rss_mb: float
    memtables_mb: float
    descriptors: int
    lag_ticks: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it; growth is of the last third's median over the middle third's, the first is warming up.

    That of memory is without memtables.
    """

    ticks_per_s: int
    minutes: float
    seed: int
    rss_mb: float
    rss_mb_per_hour: float
    rss_growth: float
    descriptors: int
    descriptors_growth: int
    lag_s: float
    worst_lag_s: float
    candles: int
    wrong: int

    def faults(self) -> list[str]:
        """What is not as it must be."""
        found = []
        if self.rss_growth > _MOST_GROWTH:
            found.append(f"memory grew by {self.rss_growth:.1%}")
        if self.descriptors_growth > _MOST_MORE_DESCRIPTORS:
            found.append(f"{self.descriptors_growth} descriptors more")
        if self.lag_s > _MOST_LAG_S:
            found.append(f"{self.lag_s:.1f} s behind")
        if self.wrong:
            found.append(f"{self.wrong} of {self.candles} candles are wrong")
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if memory, descriptors and lag stay what they are, and every candle is right."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--ticks-per-s", type=int, default=TICKS_PER_S)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the results in tests/faults/results")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with Servers() as servers, KafkaCluster(kafka_libs(), 1) as kafka:
        urls = kafka.bootstrap, servers.registry.url, servers.clickhouse.url
        with System(*urls, partitions=str(PARTITIONS)) as system:
            samples, soak = _soak(system, asked.minutes, asked.ticks_per_s, asked.seed)
    print(soak)
    for fault in soak.faults():
        print(f"FAILED: {fault}")
    if asked.save:
        print(save("soak", asdict(soak) | {"samples": [asdict(sample) for sample in samples]}))
    return 1 if soak.faults() else 0


def _soak(system: System, minutes: float, ticks_per_s: int, seed: int) -> tuple[list[Sample], Soak]:
    worker = system.start()
    seconds = minutes * 60
    count = int(seconds * ticks_per_s)
    samples: list[Sample] = []
    load = Load(system, market(seed, count, step_ms=1000 / ticks_per_s), count, seconds)
    began_s = time.monotonic()
    try:
        while not load.has_sent(1):
            time.sleep(_LOOK_EVERY_S)
            worker.check()
            samples.append(_sample(system, worker, time.monotonic() - began_s))
            print(samples[-1], flush=True)
    finally:
        load.stop()
    system.produce(last_trades())
    system.wait_drained(PATIENCE_S)
    worker.stop()
    expected = _expected(system)
    found = {key: candle for key, candle in by_sql(system).items() if _is_judged(candle)}
    wrong = sum(_content(candle) != _content(found.get(key)) for key, candle in expected.items())
    return samples, _told(samples, minutes, ticks_per_s, seed, len(expected), wrong + len(found.keys() - expected))


def _sample(system: System, worker: WorkerProcess, at_s: float) -> Sample:
    process = Path(f"/proc/{worker.pid}")
    resident_kb = next(
        int(line.split()[1]) for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS")
    )
    done, there = system.progress()
    unwritten = sum(file.stat().st_size for file in worker.data.rglob("*.db/*.log"))
    return Sample(
        round(at_s, 1),
        round(resident_kb / 1024, 1),
        round(unwritten / 2**20, 1),
        len(list((process / "fd").iterdir())),
        there - done,
    )


def _told(samples: Sequence[Sample], minutes: float, ticks_per_s: int, seed: int, candles: int, wrong: int) -> Soak:
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    memory = median(_lasting_mb(sample) for sample in last), median(_lasting_mb(sample) for sample in middle)
    slope, _ = np.polyfit([each.at_s for each in middle + last], [_lasting_mb(each) for each in middle + last], 1)
    most = max(sample.descriptors for sample in last), max(sample.descriptors for sample in middle)
    lags = sorted(sample.lag_ticks / ticks_per_s for sample in middle + last)
    return Soak(
        ticks_per_s,
        minutes,
        seed,
        max(sample.rss_mb for sample in samples),
        round(float(slope) * 3600, 1),
        round(memory[0] / memory[1] - 1, 4),
        most[0],
        most[0] - most[1],
        round(median(lags), 2),
        round(lags[-1], 2),
        candles,
        wrong,
    )


def _lasting_mb(sample: Sample) -> float:
    return sample.rss_mb - sample.memtables_mb


def _expected(system: System) -> Mapping[Key, Candle]:
    """The candles of the log by the engine offline, partition by partition: the reference would take hours."""
    expected: dict[Key, Candle] = {}
    for log in system.tick_log().values():
        engine = OfflineEngine()
        for first in range(0, len(log), _BATCH):
            batch = log[first : first + _BATCH]
            engine.add([tick for _, tick in batch], first_offset=batch[0][0])
        made = (candle for interval in INTERVALS_MS for candle, _ in engine.candles(interval))
        expected |= {candle.key: candle for candle in made if _is_judged(candle)}
    return expected


def _is_judged(candle: Candle) -> bool:
    """Not one of the trades that end all windows."""
    return candle.window_start < FLUSH_MS - INTERVALS_MS["1d"]


def _content(candle: Candle | None) -> object:
    return candle and (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades)


if __name__ == "__main__":
    sys.exit(main())
