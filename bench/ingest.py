"""What it costs to get a venue's ticks into Kafka, and how long they take: ``python -m bench.ingest``.

A server that speaks the venue's protocol, a broker and a registry of its own; then `stockstream produce` and two
scripts as one writes them by hand take turns. Latency is from the moment at which the server wrote a frame to its
socket, or, of trades, from theirs, to the broker's own stamp of the record (both in whole ms, of one clock); processor
time is of the producing process, all threads. Every run is checked: all that was sent is in the topic, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.environments import python_of
from bench.measure import Machine, cpu_seconds, peak_mb, save
from bench.venue import CONSUMER, TOKEN, VENUES
from stockstream.codecs import Registry, TickDecoder
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2
from stockstream.sources.catalog import SOURCES
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.wait import wait_until

SSI_PEER = "peers/ssi"
CONTENDERS = ("stockstream", "script with aiokafka", "script with confluent")
WARM_S = 5.0
SYMBOLS = {"finnhub": 50}  # what a free key allows; 300 of all others
ARRIVE_S = 0.5  # whoever is told to end forgets what has not reached it yet: all that was sent in the window shall have


@dataclass(frozen=True, slots=True)
class Load:
    """The venue and its pace."""

    source: str
    ticks_per_s: int
    seconds: float
    symbols: int
    partitions: int = 12


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's turn; of all processor time the hypervisor gave ``stolen`` to others, and ``idle`` was unused."""

    ticks: int
    cpu_us_a_tick: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    peak_mb: float
    stolen: float
    idle: float


Runs = dict[str, list[Run]]


@dataclass(frozen=True, slots=True)
class Servers:
    kafka: KafkaCluster
    registry_url: str
    schema_id: int


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__.splitlines()[0])
    arguments.add_argument("--source", choices=("yahoo", *VENUES), default="yahoo")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=15.0)
    arguments.add_argument("--ticks-per-s", type=int, nargs="+", default=[1000, 4000])
    given = arguments.parse_args()
    if given.source == "ssi":
        python_of(SSI_PEER)  # made before anything is measured
    console = Console()
    paces: list[tuple[Load, Runs]] = []
    with KafkaCluster(kafka_libs()) as kafka, RegistryServer(registry_home()) as registry:
        servers = Servers(kafka, registry.url, asyncio.run(register(registry.url, given.source)))
        for pace in given.ticks_per_s:
            load = Load(given.source, pace, given.seconds, SYMBOLS.get(given.source, 300))
            paces.append((load, take_turns(servers, load, given.rounds, console)))
            written = write(given.source, paces)  # at once: a contender that cannot keep up ends the whole
    for load, runs in paces:
        console.print(table_of(load, runs))
    console.print(f"written to {written}")


def take_turns(servers: Servers, load: Load, rounds: int, console: Console) -> Runs:
    runs: Runs = {name: [] for name in CONTENDERS}
    for number in range(rounds):
        for place, name in enumerate(CONTENDERS) if number % 2 == 0 else reversed([*enumerate(CONTENDERS)]):
            run = measure(servers, load, name, f"r{load.ticks_per_s}-{number}-{place}-")
            runs[name].append(run)
            told = f"{run.cpu_us_a_tick:.0f} µs a tick, p99 {run.p99_ms:g} ms"
            console.print(f"round {number + 1}, {load.ticks_per_s:,} ticks/s: {name}: {told}")
    return runs


async def register(url: str, source: str) -> int:
    registry = Registry(url)
    try:
        return await registry.ensure("script-value", TICK_SCHEMA_V2 if source in VENUES else TICK_SCHEMA_V1)
    finally:
        await registry.close()


def measure(servers: Servers, load: Load, name: str, prefix: str) -> Run:
    topic = f"{prefix}{SOURCES[load.source].topic}"
    servers.kafka.topics.create(topic, load.partitions, config={"message.timestamp.type": "LogAppendTime"})
    with tempfile.TemporaryDirectory() as folder:
        tape = Path(folder) / "tape.jsonl"
        with Venue(load, tape) as (server, url, symbols):
            process = subprocess.Popen(
                command(name, load.source, servers, topic, url, symbols, Path(folder)),
                env=environment(servers, prefix, symbols, url, load),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                wait_until(lambda: sum(servers.kafka.topics.end_offsets(topic).values()) > 500, 60, "the first ticks")
                time.sleep(WARM_S)
                around, began_ms, before_s = Machine(), now_ms(), cpu_seconds(process.pid)
                time.sleep(load.seconds)
                used_s, ended_ms, shares = cpu_seconds(process.pid) - before_s, now_ms(), around.shares()
                peak = peak_mb(process.pid)
                time.sleep(ARRIVE_S)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        delays_ms = delays(servers, topic, tape, began_ms, ended_ms)
    ordered = sorted(delays_ms)
    return Run(
        len(ordered),
        used_s / len(ordered) * 1e6,
        ordered[len(ordered) // 2],
        ordered[len(ordered) * 99 // 100],
        ordered[-1],
        peak,
        **shares,
    )


class Venue:
    """The fake in a process of its own: (process, url, symbols)."""

    def __init__(self, load: Load, tape: Path) -> None:
        options = {"--symbols": load.symbols, "--trades-per-s": load.ticks_per_s, "--tape": tape}
        given = [str(part) for option in options.items() for part in option]
        if load.source in VENUES:
            self._command = [sys.executable, "-m", "bench.venue", load.source, *given]
        else:
            fake = ("stockstream.sources.yahoo.fake", "--always-open", "--snapshot-every-ms", "0")
            self._command = [sys.executable, "-m", *fake, *given]

    def __enter__(self) -> tuple[subprocess.Popen[str], str, str]:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        url, symbols = self._process.stdout.readline().strip(), self._process.stdout.readline().strip()
        return self._process, url, symbols

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def command(name: str, source: str, servers: Servers, topic: str, url: str, symbols: str, folder: Path) -> list[str]:
    if name == "stockstream":
        return [sys.executable, "-m", "stockstream", "produce", source, "--url", url]
    script = [sys.executable, "-m", "bench.peers.trades_script", "--venue", source]
    if source == "yahoo":
        script = [sys.executable, "-m", "bench.peers.yfinance_script"]
    elif source == "finnhub":
        url = f"{url}?token={TOKEN}"
    elif source == "ssi":
        schema = folder / "schema.json"
        schema.write_text(json.dumps(TICK_SCHEMA_V2))
        script = [str(python_of(SSI_PEER)), "-m", "bench.peers.ssi", "--schema", str(schema)]
        script += ["--consumer", CONSUMER[0], "--secret", CONSUMER[1]]
    return [
        *(*script, "--producer", name.split()[-1]),
        *("--bootstrap", servers.kafka.bootstrap, "--topic", topic, "--url", url, "--symbols", symbols),
        *("--schema-id", str(servers.schema_id)),
    ]


def environment(servers: Servers, prefix: str, symbols: str, url: str, load: Load) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka.bootstrap,
        "SCHEMA_REGISTRY_URL": servers.registry_url,
        "STOCKSTREAM_TOPIC_PREFIX": prefix,
        "STOCKSTREAM_PARTITIONS": str(load.partitions),
        "SYMBOLS": symbols,
        "FINNHUB_API_TOKEN": TOKEN,
        **{"SSI_CONSUMER_ID": CONSUMER[0], "SSI_CONSUMER_SECRET": CONSUMER[1], "STOCKSTREAM_SSI_API_URL": url},
        "STOCKSTREAM_BINANCE_TICKER_INTERVAL_S": "0",
    }


def delays(servers: Servers, topic: str, tape: Path, began_ms: int, ended_ms: int) -> list[float]:
    """How long each frame took that was sent in the window; raises if one is missing or out of order."""
    stored = asyncio.run(prices(servers, topic))
    sent: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for line in tape.read_text().splitlines():
        each = json.loads(line)
        sent[each["symbol"]].append((each["sent_ms"], each["time_ms"], each["price"]))
    found = []
    for symbol, frames in sent.items():
        written = stored[symbol]
        if [frame[1:] for frame in frames[: len(written)]] != [price[1:] for price in written]:
            raise RuntimeError(f"{topic}: the records of {symbol} are not what was sent")
        for (sent_ms, _, _), (stored_ms, _, _) in zip(frames, written, strict=False):
            if began_ms <= sent_ms < ended_ms:
                found.append(float(stored_ms - sent_ms))
        if any(began_ms <= frame[0] < ended_ms for frame in frames[len(written) :]):
            raise RuntimeError(f"{topic}: records of {symbol} are missing")
    return found


async def prices(servers: Servers, topic: str) -> dict[str, list[tuple[int, int, float]]]:
    """(broker's time, event time, price) of every price by symbol, in the topic's order."""
    records = servers.kafka.topics.read(topic)
    registry = Registry(servers.registry_url)
    decoder = TickDecoder(registry)
    await decoder.prepare([record.value for record in records])
    await registry.close()
    found: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for record in records:
        tick = decoder.decode(record.key, record.value)
        if tick.kind in ("trade", "snapshot", "quote"):
            found[tick.symbol].append((record.timestamp_ms, tick.event_time, tick.price))
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def table_of(load: Load, runs: Runs) -> Table:
    table = Table(f"{load.ticks_per_s:,} ticks/s", "µs CPU a tick", "p50 ms", "p99 ms", "peak MB", "idle %")
    for name, each in runs.items():
        table.add_row(
            name,
            spread([run.cpu_us_a_tick for run in each]),
            spread([run.p50_ms for run in each]),
            spread([run.p99_ms for run in each]),
            spread([run.peak_mb for run in each]),
            spread([run.idle * 100 for run in each]),
        )
    for name in CONTENDERS[1:]:
        table.add_row(f"{name} / stockstream", spread(ratios(runs, name), 2), "", "", "", "")
    return table


def ratios(runs: Runs, name: str) -> list[float]:
    """A script's processor time a tick over ours, by round."""
    return [
        theirs.cpu_us_a_tick / ours.cpu_us_a_tick for theirs, ours in zip(runs[name], runs["stockstream"], strict=True)
    ]


def spread(figures: list[float], digits: int = 0) -> str:
    """Median, and from least to greatest."""
    return f"{median(figures):,.{digits}f} ({min(figures):,.{digits}f}–{max(figures):,.{digits}f})"


def write(source: str, paces: list[tuple[Load, Runs]]) -> Path:
    report = [
        {
            "load": asdict(load),
            "cpu_ratio_by_round": {name: [round(ratio, 2) for ratio in ratios(runs, name)] for name in CONTENDERS[1:]},
            "runs": {name: [asdict(run) for run in each] for name, each in runs.items()},
        }
        for load, runs in paces
    ]
    return save("ingest" if source == "yahoo" else f"ingest_{source}", {"paces": report})


if __name__ == "__main__":
    main()
