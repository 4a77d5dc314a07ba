"""Recordings as text: CSV with a header, or JSON lines; plain or gzip; a path, or ``-`` for standard input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stockstream.errors import InvalidInput, MalformedTrades
from stockstream.models import Tick
from stockstream.sources.replay.rows import (
    COLUMNS,
    DEFAULT_SYMBOL,
    GREATEST_LONG,
    OPTIONAL,
    PARQUET_MAGIC,
    REQUIRED,
    TEXTS,
    BadRow,
    TimeUnit,
    advice,
    epoch_ms,
    likely_unit,
    tick_of,
)

SAMPLE = Path(__file__).with_name("sample.csv.gz")
"""Two days of real trades of Ripple against Ether at Binance (2019-10-11 to 13): public facts."""
SAMPLE_SYMBOL = "BINANCE:XRPETH"
_GZIP_MAGIC = b"\x1f\x8b"
_LINE_BYTES = 1_000_000
_DECIMALS = re.compile(r"(\d{1,19}\.\d{0,9})\d*", re.ASCII)


class TradesFile:
    """The ticks of a file, one a row, in its order: see `rows.tick_of`.

    A context manager; iterate it once. ``columns`` maps our names to the file's, ``symbol`` names the instrument of a
    file without that column; ``has_symbol`` says whether it has one. ``unit`` is that of its times; seconds may have
    decimals. Memory does not grow with the file. Raises `InvalidInput` if the file cannot be opened, and
    `MalformedTrades` for its header here or for the first line that is no tick when that is reached.
    """

    def __init__(
        self,
        path: str,
        columns: Mapping[str, str] | None = None,
        symbol: str = DEFAULT_SYMBOL,
        unit: TimeUnit | None = None,
    ) -> None:
        self.name = "standard input" if path == "-" else path
        self.has_symbol = False
        self._columns = {name: name for name in COLUMNS} | dict(columns or {})
        self._symbol, self._unit = symbol, unit
        self._names: list[str] = []
        self._line = 0
        self._is_ours = path != "-"
        try:
            self._file = open(path, "rb") if self._is_ours else _buffered(sys.stdin.buffer)  # noqa: SIM115 - __exit__
            self.size_bytes = os.fstat(self._file.fileno()).st_size if self._is_ours else 0
            begin = self._file.peek(len(PARQUET_MAGIC))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self.name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if begin.startswith(PARQUET_MAGIC):
            self._close_file()
            raise InvalidInput(f"{self.name} is Parquet, which has to be a file that can be searched: give its path")
        is_packed = begin.startswith(_GZIP_MAGIC)
        self._plain = _buffered(gzip.GzipFile(fileobj=self._file)) if is_packed else self._file
        try:
            self._ticks = self._open()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Tick]:
        return self._ticks

    @property
    def position_bytes(self) -> int:
        """How much of ``size_bytes`` has been read; 0 for standard input."""
        return self._file.tell() if self._is_ours else 0

    def _close(self) -> None:
        if self._is_ours:
            self._plain.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._is_ours:
            self._file.close()

    def _open(self) -> Iterator[Tick]:
        lines = self._lines()
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            raise MalformedTrades(self.name, 1, "the file is empty, without even a header")
        again = chain([first], lines)
        if first.lstrip().startswith("{"):
            self.has_symbol = self._columns["symbol"] in self._object(first)
            return self._from_json(again)
        rows = csv.reader(again, skipinitialspace=True)
        header = [name.strip() for name in self._next(rows) or []]
        self.has_symbol = self._columns["symbol"] in header
        return self._from_csv(rows, header)

    def _lines(self) -> Iterator[str]:
        while True:
            self._line += 1
            try:
                line = self._plain.readline(_LINE_BYTES)
                text = line.decode()
            except UnicodeDecodeError as error:
                raise self._malformed("it is not UTF-8 text") from error
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise self._malformed("the gzip data is damaged or cut off here") from error
            except OSError as error:
                raise InvalidInput(f"{self.name} cannot be read: {error.strerror}") from error
            if not line:
                return
            if len(line) == _LINE_BYTES:
                raise self._malformed(f"it is longer than {_LINE_BYTES:,} bytes")
            yield text.removeprefix("\ufeff") if self._line == 1 else text

    def _next(self, rows: Iterator[list[str]]) -> list[str] | None:
        try:
            return next(rows, None)
        except csv.Error as error:
            raise self._malformed(f"no CSV: {error}") from error

    def _from_csv(self, rows: Iterator[list[str]], header: list[str]) -> Iterator[Tick]:
        self._names = [*REQUIRED, *(name for name in OPTIONAL if self._columns[name] in header)]
        for name in self._names:
            count = header.count(self._columns[name])
            if count != 1:
                raise self._malformed(
                    f"column {self._columns[name]} {'is missing from' if count == 0 else 'comes twice in'} the header "
                    f"({', '.join(header)[:200]}): name the file's own columns with --columns {name}=…"
                )
        places = [header.index(self._columns[name]) for name in self._names]
        return self._csv_ticks(rows, places, len(header))

    def _csv_ticks(self, rows: Iterator[list[str]], places: list[int], width: int) -> Iterator[Tick]:
        while (row := self._next(rows)) is not None:
            if not row:
                continue
            if len(row) != width:
                raise self._malformed(f"it has {len(row)} values, the header {width}")
            yield self._tick([row[place] for place in places])

    def _from_json(self, lines: Iterator[str]) -> Iterator[Tick]:
        required = [*REQUIRED, "symbol"] if self.has_symbol else REQUIRED
        self._names = [*REQUIRED, *(name for name in OPTIONAL if name != "symbol" or self.has_symbol)]
        keys = [self._columns[name] for name in self._names]
        kind = self._columns["kind"]
        for line in lines:
            if not line.strip():
                continue
            record = self._object(line)
            if (self._columns["symbol"] in record) != self.has_symbol:
                raise self._malformed(f"either every line has a {self._columns['symbol']} or none")
            if kind not in record:
                for name in required:
                    if self._columns[name] not in record:
                        raise self._malformed(f"{self._columns[name]} is missing: name the file's own with --columns")
            yield self._tick([record.get(key) for key in keys])

    def _object(self, line: str) -> dict[str, Any]:
        try:
            # Numbers stay text, so that both formats are checked alike.
            record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise self._malformed(f"no JSON: {error}") from error
        if not isinstance(record, dict):
            raise self._malformed("no JSON object")
        return record

    def _tick(self, values: Sequence[Any]) -> Tick:
        try:
            if len(values) == len(REQUIRED):  # as most files are
                event_ms, trade_id, price, size = values
                return tick_of(
                    self._symbol,
                    self._time_ms("event_ms", event_ms),
                    self._whole("trade_id", trade_id),
                    self._number("price", price),
                    self._number("size", size),
                )
            return tick_of(**self._parsed(dict(zip(self._names, values, strict=True))))
        except BadRow as error:
            raise self._malformed(str(error)) from error

    def _parsed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        is_trade = row.get("kind") in (None, "", "trade")
        parsed: dict[str, Any] = {"symbol": self._symbol}
        for name, text in row.items():
            if text is None or (text == "" and (name in OPTIONAL or not is_trade)):
                parsed[name] = None
            elif name in TEXTS:
                parsed[name] = str(text)
            elif name.endswith("_ms"):
                parsed[name] = self._time_ms(name, text)
            else:
                parsed[name] = self._number(name, text) if name in ("price", "size") else self._whole(name, text)
        return parsed

    def _time_ms(self, name: str, text: object) -> int:
        if isinstance(text, str) and "." in text and (found := _DECIMALS.fullmatch(text)):
            number = Decimal(found[1])
            if self._unit == "s":
                return epoch_ms(name, number, "s")
            if likely_unit(number) == "s":
                raise BadRow(f"{name} is {text[:40]}: {advice('s')}")
        return epoch_ms(name, self._whole(name, text), self._unit)

    def _whole(self, name: str, text: object) -> int:
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 19:
            number = int(text)
            if number <= GREATEST_LONG:
                return number
        raise self._malformed(f"{name} is {str(text)[:40]!r}: must be a whole number")

    def _number(self, name: str, text: object) -> float:
        if isinstance(text, str) and "_" not in text:
            try:
                number = float(text)
            except ValueError:
                number = -1.0
            if 0 <= number < inf:
                return number
        raise self._malformed(
            f"{name} is {str(text)[:40]!r}: must be a number {'above' if name == 'price' else 'from'} 0"
        )

    def _malformed(self, reason: str) -> MalformedTrades:
        return MalformedTrades(self.name, self._line, reason)


def _buffered(stream: Any) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
