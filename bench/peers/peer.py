"""What the peers in Python have in common: arguments, the decoder, the window. Nothing of stockstream is imported."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader

INTERVALS_MS = {"1m": 60_000, "5m": 300_000, "1d": 86_400_000}
HEADER_BYTES = 5

Tick = dict[str, Any]
Row = list[float]
"""open, high, low, close, volume, trades."""


def arguments() -> argparse.Namespace:
    """Where to read, how much of it, and where to write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--group", required=True, help="a name of its own, of whatever it creates on the broker too")
    parser.add_argument("--schema", type=Path, required=True, help="the ticks' Avro schema")
    parser.add_argument("--folder", type=Path, required=True, help="a folder of its own")
    return parser.parse_args()


def decoder(schema: Path) -> Callable[[bytes], Tick]:
    """Decodes a record's value by fastavro."""
    parsed, read = parse_schema(json.loads(schema.read_text())), schemaless_reader

    def decode(value: bytes) -> Tick:
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        tick: Tick = read(stream, parsed, None)  # type: ignore[assignment]  # it may be other than a record
        return tick

    return decode


class Window:
    """From the first record to the moment when all is durable: wall time and the process's own."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """The first record is here; further calls do nothing."""
        if not self.begun:
            self.begun = True
            self._begin_s, self._cpu_s = time.monotonic(), time.process_time()

    def end(self, then: Callable[[], None] = lambda: None) -> None:
        """Everything is durable: do ``then`` what is not measured, and print the figures as the last line, of JSON."""
        figures = {
            "seconds": time.monotonic() - self._begin_s,
            "cpu_s": time.process_time() - self._cpu_s,
            "peak_mb": peak_mb(),
        }
        then()
        tell(figures)


def tell(figures: dict[str, float]) -> None:
    """Print figures as a line of JSON, past any framework that has taken standard output for its log."""
    print(json.dumps(figures), file=sys.__stdout__, flush=True)


def peak_mb() -> float:
    """The most memory that this process has held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmHWM")


def write_candles(folder: Path, candles: dict[tuple[str, str, int], Row]) -> None:
    """Leave what the peer has found to be compared: lines of symbol, interval, start and the row."""
    with (folder / "candles.jsonl").open("w") as file:
        for key, row in candles.items():
            print(json.dumps([*key, *row]), file=file)
