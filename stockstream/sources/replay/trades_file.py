"""Trades files: CSV with a header, or JSON lines; plain or gzip; a path, or ``-`` for standard input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from itertools import chain
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stockstream.errors import InvalidInput, MalformedTrades
from stockstream.models import Tick, is_symbol

COLUMNS = ("event_ms", "trade_id", "side", "price", "size", "symbol")
"""The names of a file's columns, which ``columns`` may map to others; ``side`` is not read."""

DEFAULT_SYMBOL = "TRADES"
SAMPLE = Path(__file__).with_name("sample.csv.gz")
"""Two days of real trades of Ripple against Ether at Binance (2019-10-11 to 13): public facts."""
SAMPLE_SYMBOL = "BINANCE:XRPETH"
_REQUIRED = ("event_ms", "trade_id", "price", "size")
_GZIP_MAGIC = b"\x1f\x8b"
_GREATEST_LONG = 2**63 - 1
_LINE_BYTES = 1_000_000


class TradesFile:
    """The trades of a file, one `Tick` of kind ``trade`` and source ``replay`` each, in the order of the file.

    A context manager; iterate it once. ``columns`` maps our names to the file's, ``symbol`` names the instrument of a
    file without that column; ``has_symbol`` says whether it has one. A trade counts as received when it happened.
    Memory does not grow with the file. Raises `InvalidInput` if the file cannot be opened, and `MalformedTrades` for
    its header here or for the first line that is no trade when that is reached.
    """

    def __init__(self, path: str, columns: Mapping[str, str] | None = None, symbol: str = DEFAULT_SYMBOL) -> None:
        self.name = "standard input" if path == "-" else path
        self.has_symbol = False
        self._columns = {name: name for name in COLUMNS} | dict(columns or {})
        self._symbol = symbol
        self._line = 0
        self._is_ours = path != "-"
        try:
            self._file = open(path, "rb") if self._is_ours else _buffered(sys.stdin.buffer)  # noqa: SIM115 - __exit__
            self.size_bytes = os.fstat(self._file.fileno()).st_size if self._is_ours else 0
            is_packed = self._file.peek(2)[:2] == _GZIP_MAGIC
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self.name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
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
        wanted = [*_REQUIRED, "symbol"] if self.has_symbol else _REQUIRED
        for name in wanted:
            count = header.count(self._columns[name])
            if count != 1:
                raise self._malformed(
                    f"column {self._columns[name]} {'is missing from' if count == 0 else 'comes twice in'} the header "
                    f"({', '.join(header)[:200]}): name the file's own columns with --columns {name}=…"
                )
        places = [header.index(self._columns[name]) for name in wanted]
        return self._csv_ticks(rows, places, len(header))

    def _csv_ticks(self, rows: Iterator[list[str]], places: list[int], width: int) -> Iterator[Tick]:
        while (row := self._next(rows)) is not None:
            if not row:
                continue
            if len(row) != width:
                raise self._malformed(f"it has {len(row)} values, the header {width}")
            yield self._tick(*[row[place] for place in places])

    def _from_json(self, lines: Iterator[str]) -> Iterator[Tick]:
        names = [*_REQUIRED, "symbol"] if self.has_symbol else _REQUIRED
        keys = [self._columns[name] for name in names]
        for line in lines:
            if not line.strip():
                continue
            record = self._object(line)
            if (self._columns["symbol"] in record) != self.has_symbol:
                raise self._malformed(f"either every line has a {self._columns['symbol']} or none")
            for key in keys:
                if key not in record:
                    raise self._malformed(f"{key} is missing: name the file's own with --columns")
            yield self._tick(*[record[key] for key in keys])

    def _object(self, line: str) -> dict[str, Any]:
        try:
            # Numbers stay text, so that both formats are checked alike.
            record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise self._malformed(f"no JSON: {error}") from error
        if not isinstance(record, dict):
            raise self._malformed("no JSON object")
        return record

    def _tick(self, event: str, trade_id: str, price: str, size: str, symbol: str | None = None) -> Tick:
        event_ms = self._whole("event_ms", event)
        traded_price = self._number("price", price)
        traded_size = self._number("size", size)
        if not event_ms > 0:
            raise self._malformed("event_ms is 0: must be Unix time in ms")
        if not traded_price > 0:
            raise self._malformed(f"price is {price}: must be above 0")
        if not self.has_symbol:
            symbol = self._symbol
        elif not isinstance(symbol, str) or not is_symbol(symbol):
            raise self._malformed(f"symbol is {str(symbol)[:70]!r}: use 1 to 64 of A-Z a-z 0-9 . _ - ^ = : /")
        return Tick(
            str(symbol),
            event_ms,
            traded_price,
            traded_size,
            trade_id=self._whole("trade_id", trade_id),
            producer_timestamp=event_ms,
            source="replay",
        )

    def _whole(self, name: str, text: object) -> int:
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 19:
            number = int(text)
            if number <= _GREATEST_LONG:
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
