"""The same recording written in every format."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

Row = dict[str, Any]

T0_MS = 1_700_000_000_000


def recording() -> list[Row]:
    """Trades of two symbols with a pause, and between them what a source says: starts, a hole, its repair, a quote."""
    rows: list[Row] = [
        {"symbol": symbol, "event_ms": T0_MS, "kind": "start", "received_ms": T0_MS} for symbol in ("AAA", "X:BBB")
    ]
    for n in range(1, 300):
        event_ms = T0_MS + n * 997 + (600_000 if n > 150 else 0)
        rows.append(
            {
                "symbol": ("AAA", "X:BBB")[n % 2],
                "event_ms": event_ms,
                "trade_id": n,
                "price": 100 + (n * 7919 % 1000) / 100,
                "size": (n * 31 % 17 + 1) / 8,
                "received_ms": event_ms + n % 50,
            }
        )
        if n == 150:
            hole = {"event_ms": event_ms, "until_ms": event_ms + 590_000, "received_ms": event_ms + 590_001}
            rows.append({"symbol": "AAA", "kind": "gap", "cause": 'closed 1001, "silent"', **hole})
            mended = {**hole, "until_ms": event_ms + 300_000, "received_ms": event_ms + 595_000}
            rows.append({"symbol": "AAA", "kind": "repair", "cause": "from the venue's history", **mended})
    rows.append({"symbol": "AAA", "event_ms": T0_MS + 1, "kind": "quote", "price": 99.5, "received_ms": T0_MS + 2})
    rows.append(
        {"symbol": "AAA", "event_ms": T0_MS + 9, "kind": "snapshot", "price": 98.25, "day_volume": 12_345_678_901}
    )
    return rows


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gzip(path: Path, rows: Sequence[Row]) -> None:
    write_json(path, rows)
    path.write_bytes(gzip.compress(path.read_bytes()))


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=64)


FORMATS: dict[str, Callable[[Path, Sequence[Row]], None]] = {
    "csv": write_csv,
    "jsonl": write_json,
    "jsonl.gz": write_gzip,
    "parquet": write_parquet,
}
