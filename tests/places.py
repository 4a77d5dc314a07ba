"""Every place where a system's candles can be read, each as the same mapping of candles by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict

from stockstream.core.interval import INTERVALS_MS, REGULAR, Address
from stockstream.core.publish import candle_of
from stockstream.core.rows import Rows
from stockstream.core.trading import Trading
from stockstream.models import Candle
from stockstream.tables import table_name
from stockstream.tables.rows import decode_key
from stockstream.testing.system import CandleKey, System, WorkerProcess, rows_of
from stockstream.testing.wait import wait_until

Found = dict[CandleKey, Candle]

_PAGE = 500
_MOVE_S = 30
_TIMES = ("window_start", "window_end", "session_open", "session_close")
_COLUMNS = (
    "symbol", "interval", "session", "window_start", "window_end", "open", "high", "low", "close", "volume", "vwap",
    "trades", "is_closed", "version", "session_open", "session_close", "partial", "gap", "corrected", "state",
)  # fmt: skip


def by_sql(system: System) -> Found:
    """The view ``candles`` of ClickHouse, which shows one row a candle."""
    columns = [f"toUnixTimestamp64Milli(c.{name})" if name in _TIMES else f"c.{name}" for name in _COLUMNS]
    return _by_key(Candle(*row) for row in system.sql(f"SELECT {', '.join(columns)} FROM candles AS c"))


def by_http(
    worker: WorkerProcess, symbols: Iterable[str], intervals: Iterable[str] = INTERVALS_MS, session: str = REGULAR
) -> Found:
    """``/candles/…`` of one worker, page by page from the newest back."""
    found: list[Candle] = []
    for symbol in symbols:
        for interval in intervals:
            path, end = f"/candles/{symbol}?interval={interval}&session={session}&limit={_PAGE}", ""
            while page := _get(worker, f"{path}{end}")["candles"]:
                found += (_candle(symbol, interval, row, session) for row in page)
                end = f"&end={page[0]['window_start_ms']}"
                if len(page) < _PAGE:
                    break
    return _by_key(found)


def by_tables(worker: WorkerProcess, symbols: Iterable[str]) -> Found:
    """``/tables/…`` of one worker: the rows as their owner holds them; asked again while a partition moves."""
    found: list[Candle] = []
    for symbol in symbols:
        for interval in INTERVALS_MS:
            path = f"/tables/candles_{interval}/{symbol}"
            wait_until(lambda path=path: worker.get(path)[0] != 503, _MOVE_S, f"the owner of {symbol}")
            found += (_candle(symbol, interval, row) for row in _get(worker, path)["rows"])
    return _by_key(found)


def by_changelog(system: System, in_log_order: bool, trading: Trading | None = None) -> Found:
    """The changelogs of the tables: of each row the newest state, or the one that comes last in the log."""
    rows = Rows(trading)
    for at, row in rows_of(system, in_log_order):
        rows.put(at, row)
    made = (candle_of(rows, at, row) for at, row in rows_of(system, in_log_order))
    return _by_key(candle for candle in made if candle is not None)


def rows_in_store(data: Path, interval: str) -> dict[Address, bytes]:
    """The rows of an interval in the RocksDB stores of a worker that has ended."""
    found: dict[Address, bytes] = {}
    for folder in sorted(data.rglob(f"{table_name(interval)}-*.db")):
        store = Rdict(str(folder), options=Options(raw_mode=True))
        found |= {(interval, *decode_key(key)): value for key, value in store.items() if key.startswith(b"[")}
        store.close()
    return found


def _get(worker: WorkerProcess, path: str) -> Any:
    status, answer = worker.get(path)
    assert status == 200, f"{path}: {status} {answer}"
    return answer


def _candle(symbol: str, interval: str, row: Mapping[str, Any], session: str = REGULAR) -> Candle:
    values = {name: row[f"{name}_ms"] if name in _TIMES else row.get(name) for name in _COLUMNS}
    return Candle(
        **values | {"symbol": symbol, "interval": interval, "session": session, "version": int(row["version"])}
    )


def _by_key(candles: Iterable[Candle]) -> Found:
    found: Found = {}
    for candle in candles:
        assert candle.key not in found, f"{candle.key} is there twice"
        found[candle.key] = candle
    return found
