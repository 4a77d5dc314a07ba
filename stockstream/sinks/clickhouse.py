"""ClickHouse as a sink: a server over HTTP, or the engine embedded in this process."""

from __future__ import annotations

import asyncio
import importlib
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import clickhouse_connect
import lz4.frame
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError

from stockstream.errors import SettingsError, SinkRefused, SinkUnreachable, StockstreamError
from stockstream.models import Candle, Tick
from stockstream.sinks.contract import ArchivedTick, CandleBlock, TickBlock
from stockstream.sinks.migrations import migrate, migrations, quoted, set_tick_retention
from stockstream.sinks.tables import native_candles, native_ticks
from stockstream.trust import distrust_of

_T = TypeVar("_T")

_CANDLE_COLUMNS = tuple(f.name for f in fields(Candle))
_CANDLE_TIMES = {"window_start", "window_end", "session_open", "session_close"}
_TICK_COLUMNS = tuple(f.name for f in fields(Tick))
_TICK_NULLABLE = tuple(f.name for f in fields(Tick) if f.default is None)
_ORIGIN_COLUMNS = ("verdict", "topic", "partition", "offset")

# Server codes that say "this row can never be stored": not parsed, not converted, out of range, constraint violated.
_DATA_CODES = {6, 26, 27, 38, 41, 43, 53, 69, 70, 72, 117, 131, 190, 321, 349, 407, 467, 469, 691}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_LOGIN_ADVICE = "set STOCKSTREAM_CLICKHOUSE_USER and STOCKSTREAM_CLICKHOUSE_PASSWORD"
_ROOM_ADVICE = "make room on its disk"
_ADVICE = {
    **dict.fromkeys((192, 193, 194, 516), _LOGIN_ADVICE),
    164: "its user may only read: let it write, or set STOCKSTREAM_CLICKHOUSE_USER to another",
    242: "it takes no writes for now: see whether its Keeper is there",
    243: _ROOM_ADVICE,
}
# What the driver lets through when a value does not fit its column.
_DATA_ERRORS = (DataError, TypeError, ValueError, OverflowError, AttributeError, struct.error)
_OTHER_ERRORS = (ClickHouseError, OSError, RuntimeError)

# async_insert would acknowledge rows before they are stored and reports errors late; a backlog may span many months.
# A block holds a key once, or FINAL shows it so: to look for others in each block again would double an insert's cost.
_SETTINGS = {"async_insert": 0, "max_partitions_per_insert_block": 0, "optimize_on_insert": 0}


class ClickHouseSink:
    """A `Sink` in ClickHouse, server or embedded.

    ``url`` is ``http://user:password@host:8123/database`` (or https), or ``chdb:///absolute/path`` for the embedded
    engine, of which a process can have one. ``database`` is used where the URL names none. ``tick_retention_days`` is
    applied on start; 0 keeps the archive for ever. ``epoch`` counts the rebirths of the tick topics. ``ca_file`` is a
    PEM file with the authorities that vouch for the server, in place of the usual ones. Raises `SettingsError` for a
    URL that is none of these.
    """

    def __init__(
        self,
        url: str,
        *,
        database: str = "stockstream",
        tick_retention_days: int = 0,
        epoch: int = 0,
        ca_file: str | None = None,
        connect_timeout_s: float = 3.0,
        send_receive_timeout_s: float = 15.0,
    ) -> None:
        self._url = _checked(url)
        embedded = self._url.scheme == "chdb"
        self._database = database if embedded else self._url.path.strip("/") or database
        self._name = quoted(self._database)
        self._tick_retention_days = tick_retention_days
        self._epoch = epoch
        self._ca_file = ca_file
        self._connect_timeout_s = connect_timeout_s
        self._send_receive_timeout_s = send_receive_timeout_s
        # On the way to another machine bytes are dear, within one they are not.
        self._compression = None if embedded or self._url.hostname in _LOOPBACK else "lz4"
        self._where = f"{self._url.scheme}://{self._url.netloc.rpartition('@')[2]}{self._url.path if embedded else ''}"
        # Writes go one at a time; reads have a client of their own, so that a page does not wait for an insert.
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sink-write")
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="sink-read")
        self._writer: Client | None = None
        self._reader: Client | None = None

    async def start(self) -> None:
        """Connect, create or upgrade the tables; `SinkUnreachable` if that fails, `SettingsError` without chdb."""
        await self._call(self._writing, self._open)

    async def connect(self) -> None:
        """Connect for `select` alone, which makes and changes nothing; raises as `start` does."""
        await self._call(self._reading, self._open_reader)

    async def select(self, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of a query, in which ``{database}`` stands for the name of the database."""
        return await self._call(self._reading, self._select, sql.replace("{database}", self._name), parameters)

    async def insert_candles(self, candles: Sequence[Candle]) -> None:
        """Store candles; returns when ClickHouse has them."""
        if candles:
            await self._call(self._writing, self._insert_candles, candles)

    async def insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        """Store ticks; returns when ClickHouse has them."""
        if ticks:
            await self._call(self._writing, self._insert_ticks, ticks)

    async def insert_candle_blocks(self, blocks: Sequence[CandleBlock]) -> None:
        """Store candles that are held as columns; returns when ClickHouse has them."""
        if blocks:
            await self._call(self._writing, lambda: self._insert_native("candles_store", native_candles(blocks)))

    async def insert_tick_blocks(self, blocks: Sequence[TickBlock]) -> None:
        """Store ticks that are held as columns; returns when ClickHouse has them."""
        if blocks:
            await self._call(self._writing, lambda: self._insert_native("ticks", native_ticks(blocks, self._epoch)))

    async def candles(
        self,
        symbol: str,
        interval: str,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        session: str = "regular",
    ) -> list[Candle]:
        """The last ``limit`` candles that begin in ``[start_ms, end_ms)``, ascending, from the deduplicated view."""
        parameters: dict[str, Any] = {"symbol": symbol, "interval": interval, "session": session, "limit": limit}
        conditions = ["c.symbol = {symbol:String}", "c.interval = {interval:String}", "c.session = {session:String}"]
        for name, sign, bound_ms in (("start", ">=", start_ms), ("end", "<", end_ms)):
            if bound_ms is not None:
                conditions.append(f"c.window_start {sign} fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')")
                parameters[name] = bound_ms
        columns = (f"toUnixTimestamp64Milli(c.{n})" if n in _CANDLE_TIMES else f"c.{n}" for n in _CANDLE_COLUMNS)
        sql = (
            f"SELECT {', '.join(columns)} FROM {self._name}.candles AS c"  # noqa: S608 - constants and a checked name
            f" WHERE {' AND '.join(conditions)} ORDER BY c.window_start DESC LIMIT {{limit:UInt32}}"
        )
        rows = await self._call(self._reading, self._select, sql, parameters)
        return [Candle(*row) for row in reversed(rows)]

    async def ping(self) -> None:
        """Return if ClickHouse executes a query."""
        await self._call(self._reading, self._select, "SELECT 1", {})

    async def close(self) -> None:
        """Finish the insert that is under way, at most its time-out, and disconnect."""
        await asyncio.get_running_loop().run_in_executor(self._writing, self._close)
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    async def _call(self, executor: ThreadPoolExecutor, work: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
        except StockstreamError:
            raise
        except _DATA_ERRORS as error:
            raise SinkRefused(self._told("refuses the rows", error)) from error
        except _OTHER_ERRORS as error:
            if getattr(error, "code", None) in _DATA_CODES:
                raise SinkRefused(self._told("refuses the rows", error)) from error
            distrust = distrust_of(error, ca_setting="STOCKSTREAM_CLICKHOUSE_CA_FILE", address_setting="CLICKHOUSE_URL")
            if distrust is not None:
                raise SinkUnreachable(f"ClickHouse at {self._where} {distrust}") from error
            raise SinkUnreachable(self._told("is not usable", error) + _advice(error)) from error

    def _told(self, what: str, error: Exception) -> str:
        reason = " ".join(str(_root(error) or error).split())[:300] or type(error).__name__
        if self._url.password:
            reason = reason.replace(self._url.password, "***").replace(unquote(self._url.password), "***")
        return f"ClickHouse at {self._where} {what}: {reason}"

    def _open(self) -> None:
        if self._writer is None:
            self._writer = self._connect()
        migrate(self._writer, self._database, migrations())
        set_tick_retention(self._writer, self._database, self._tick_retention_days)
        if self._reader is None:
            self._reader = self._connect()

    def _open_reader(self) -> None:
        if self._url.scheme == "chdb" and not Path(self._url.path).is_dir():
            raise SinkUnreachable(f"{self._where} is no folder: set CLICKHOUSE_URL to where candles were kept")
        if self._reader is None:
            self._reader = self._connect()

    def _connect(self) -> Client:
        if self._url.scheme == "chdb":
            try:
                importlib.import_module("chdb")
            except ImportError as error:
                raise SettingsError(
                    f"{self._where} is the embedded ClickHouse, which is not installed: pip install 'stockstream[demo]'"
                ) from error
            return clickhouse_connect.get_client(interface="chdb", path=self._url.path, settings=_SETTINGS)
        return clickhouse_connect.get_client(
            interface=self._url.scheme,
            host=self._url.hostname,
            port=self._url.port or (8443 if self._url.scheme == "https" else 8123),
            username=unquote(self._url.username) if self._url.username else None,
            password=unquote(self._url.password or ""),
            settings=_SETTINGS,
            ca_cert=self._ca_file,
            query_retries=0,
            dedicated_pool=True,
            autogenerate_session_id=False,
            connect_timeout=self._connect_timeout_s,
            send_receive_timeout=self._send_receive_timeout_s,
        )

    def _insert_candles(self, candles: Sequence[Candle]) -> None:
        self._insert("candles_store", _columns(_CANDLE_COLUMNS, candles))

    def _insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        columns = _columns(_TICK_COLUMNS, [archived.tick for archived in ticks])
        # Most sources never fill most of these; what is left out is null.
        empty = [name for name in _TICK_NULLABLE if columns[name].count(None) == len(ticks)]
        for name in empty:
            del columns[name]
        self._insert("ticks", columns | _columns(_ORIGIN_COLUMNS, ticks) | {"epoch": [self._epoch] * len(ticks)})

    def _insert_native(self, table: str, columns: tuple[list[str], bytes]) -> None:
        names, data = columns
        compression = self._compression
        body = lz4.frame.compress(data) if compression else data
        self._connected(self._writer).raw_insert(
            f"{self._name}.`{table}`", names, body, fmt="Native", compression=compression
        )

    def _insert(self, table: str, columns: dict[str, list[Any]]) -> None:
        client = self._connected(self._writer)
        client.insert(
            table, list(columns.values()), column_names=list(columns), database=self._database, column_oriented=True
        )

    def _select(self, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        return self._connected(self._reader).query(sql, parameters=parameters).result_rows

    def _connected(self, client: Client | None) -> Client:
        if client is None:
            raise SinkUnreachable(f"ClickHouse at {self._where} is not connected yet")
        return client

    def _close(self) -> None:
        for client in (self._writer, self._reader):
            if client is not None:
                client.close()
        self._writer = self._reader = None


def _columns(names: Sequence[str], rows: Sequence[object]) -> dict[str, list[Any]]:
    return {name: list(map(attrgetter(name), rows)) for name in names}


def _root(error: BaseException) -> OSError | None:
    """What the network said, which the driver and its pool wrap in lines of their own; None if it is not that."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    return cause


def _advice(error: BaseException) -> str:
    if _root(error) is not None:
        return "; start it, or set CLICKHOUSE_URL"
    advice = _ADVICE.get(getattr(error, "code", None) or 0, "")
    if "No space left on device" in str(error):  # of a file, which has codes of its own
        advice = _ROOM_ADVICE
    return advice and f"; {advice}"


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        parts, port_is_valid = SplitResult("", "", "", "", ""), False
    embedded = parts.scheme == "chdb" and not parts.netloc and parts.path.strip("/")
    server = parts.scheme in ("http", "https") and parts.hostname and "/" not in parts.path.strip("/")
    if not port_is_valid or not (embedded or server) or parts.query or parts.fragment:
        raise SettingsError(
            "the ClickHouse URL must be http://user:password@host:8123/database, https://… or chdb:///absolute/path"
        )
    return parts
