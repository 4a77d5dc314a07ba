"""The main job on real trades: Kafka, registry and ClickHouse's engine on this machine, a worker, and its answers.

    python tools/demo.py [--seconds 20] [--exit-when-done]

Replays two days of real XRP/ETH trades in ``--seconds``, checks every candle against those that another program made of
the same trades, and serves the worker's HTTP side until Ctrl+C.
"""

from __future__ import annotations

import csv
import gzip
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "xrp_eth_2019"
SYMBOL = "BINANCE:XRPETH"
WEB_PORT = "6066"


def trades() -> list[Tick]:
    """The trades of the data set; received when they happened, so that none of them is late."""
    with gzip.open(DATA / "trades.csv.gz", "rt") as file:
        return [
            Tick(
                SYMBOL,
                int(row["event_ms"]),
                float(row["price"]),
                float(row["size"]),
                trade_id=int(row["trade_id"]),
                producer_timestamp=int(row["event_ms"]),
                source="binance",
            )
            for row in csv.DictReader(file)
        ]


def reference(interval: str) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Window start and open, high, low, close, volume of each candle that the other program made."""
    with (DATA / f"candles_{interval}.csv").open() as file:
        for row in csv.DictReader(file):
            yield int(row["start_ms"]), tuple(float(row[name]) for name in ("open", "high", "low", "close", "volume"))


def unequal(system: System, interval: str) -> int:
    """How many of an interval's candles in ClickHouse are not exactly the reference's."""
    found = system.sql_candles(interval)
    expected = dict(reference(interval))
    wrong = len(found.keys() ^ {(SYMBOL, interval, "regular", start) for start in expected})
    for start, (*prices, volume) in expected.items():
        candle = found.get((SYMBOL, interval, "regular", start))
        if candle is not None and (list(candle[:4]) != prices or abs(candle[4] - volume) > 1e-6):
            wrong += 1
    return wrong


def replay(console: Console, system: System, ticks: list[Tick], seconds: float) -> None:
    """Produce the ticks over ``seconds``."""
    steps = 50
    size = -(-len(ticks) // steps)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("replaying", total=len(ticks))
        for first in range(0, len(ticks), size):
            started = time.monotonic()
            system.produce(ticks[first : first + size])
            progress.advance(task, len(ticks[first : first + size]))
            time.sleep(max(0.0, seconds / steps - (time.monotonic() - started)))


def show(console: Console, system: System) -> bool:
    """Print the last candles and the comparison; whether all are equal."""
    status, answer = system.workers["w0"].get(f"/candles/{SYMBOL}?interval=5m&limit=8")
    if status != 200:
        raise click.ClickException(f"the worker answers {status}: {answer}")
    names = ("open", "high", "low", "close", "volume", "is_closed")
    table = Table("5m, UTC", *names, title=SYMBOL, box=None)
    for candle in answer["candles"]:
        table.add_row(candle["window_start"][5:16].replace("T", " "), *(str(candle[name]) for name in names))
    console.print(table)
    wrong = {interval: unequal(system, interval) for interval in ("1m", "5m")}
    for interval, count in wrong.items():
        total = sum(1 for _ in reference(interval))
        console.print(
            f"{interval}: {total - count} of {total} candles in ClickHouse equal the reference's, {count} differ"
        )
    return not any(wrong.values())


@click.command(help=__doc__.splitlines()[0])
@click.option("--seconds", default=10.0, show_default=True, help="how long the replay takes")
@click.option("--exit-when-done", is_flag=True, help="do not stay to serve HTTP")
def main(seconds: float, exit_when_done: bool) -> None:
    """Run the demonstration."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        console.print("starting Kafka, the schema registry, ClickHouse's engine and a worker …")
        with (
            KafkaCluster(kafka_libs()) as kafka,
            RegistryServer(registry_home()) as registry,
            ClickHouseFacade() as clickhouse,
            System(kafka.bootstrap, registry.url, clickhouse.url, web_port=WEB_PORT) as system,
        ):
            worker = system.start()
            ticks = trades()
            console.print(f"replaying {len(ticks):,} real trades in {seconds:g} s …")
            replay(console, system, ticks, seconds)
            system.wait_drained()
            equal = show(console, system)
            if not exit_when_done:
                root = f"http://127.0.0.1:{worker.port}"
                console.print(f"serving {root}/candles/{SYMBOL}?interval=5m, {root}/latest, {root}/health/ready")
                console.print("Ctrl+C ends it")
                signal.pause()
            worker.stop()
    except KeyboardInterrupt:
        console.print("stopped")
        return
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
