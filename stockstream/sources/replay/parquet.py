"""Recordings in Parquet, read with pyarrow: the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from stockstream.errors import InvalidInput, MalformedTrades
from stockstream.models import Tick
from stockstream.sources.replay.rows import (
    COLUMNS,
    DEFAULT_SYMBOL,
    END_MS,
    FIRST_MS,
    OPTIONAL,
    REQUIRED,
    TEXTS,
    BadRow,
    TimeUnit,
    epoch_ms,
    tick_of,
)

_BATCH_ROWS = 10_000
_READ_BYTES = 1 << 20


class ParquetFile:
    """The ticks of a Parquet file, one a row, its row groups in their order: see `rows.tick_of`.

    As `TradesFile`; times may also be timestamps, which know their unit, and without a zone are UTC. No more is held
    than what of a row group has been decoded. Raises `InvalidInput` if the file cannot be read or pyarrow is missing,
    and `MalformedTrades` for its schema here, or for the first row that is no tick when that is reached.
    """

    def __init__(
        self,
        path: str,
        columns: Mapping[str, str] | None = None,
        symbol: str = DEFAULT_SYMBOL,
        unit: TimeUnit | None = None,
    ) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise InvalidInput(
                f"{path} is Parquet, which pyarrow reads, and that is not installed: pip install 'stockstream[parquet]'"
            ) from error
        self.name = path
        self._errors = (pyarrow.ArrowException, OSError, UnicodeDecodeError)
        self._columns = {name: name for name in COLUMNS} | dict(columns or {})
        self._symbol, self._unit = symbol, unit
        self._row = 0
        try:
            self.size_bytes = Path(path).stat().st_size
            self._file: Any = parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
        except self._errors as error:
            raise InvalidInput(f"{path} is no Parquet that can be read: {_first_line(error)}") from error
        try:
            self._names = self._checked(pyarrow)
        except BaseException:
            self._file.close()
            raise
        self._rows: int = self._file.metadata.num_rows
        self.has_symbol = "symbol" in self._names
        schema, self._time_of = self._file.schema_arrow, {}
        for name in self._names:
            if name.endswith("_ms"):
                is_timestamp = pyarrow.types.is_timestamp(schema.field(self._columns[name]).type)
                self._time_of[name] = _timestamp_ms if is_timestamp else self._number_ms
        self._ticks = self._read(pyarrow)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Tick]:
        return self._ticks

    @property
    def position_bytes(self) -> int:
        """How much of ``size_bytes`` the rows that were read take, if all take the same."""
        return self.size_bytes * self._row // max(1, self._rows)

    def _checked(self, pyarrow: Any) -> list[str]:
        """Our names of the columns that are there; raises `MalformedTrades` if one is missing or of no use."""
        schema = self._file.schema_arrow
        names = [*REQUIRED, *(name for name in OPTIONAL if self._columns[name] in schema.names)]
        for name in names:
            theirs = self._columns[name]
            count = schema.names.count(theirs)
            if count != 1:
                raise self._malformed(
                    f"column {theirs} {'is missing from' if count == 0 else 'comes twice in'} the schema "
                    f"({', '.join(schema.names)[:200]}): name the file's own columns with --columns {name}=…"
                )
            kind = schema.field(theirs).type
            is_of_use, wanted = _wanted(name, pyarrow.types)
            value_kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
            if not is_of_use(value_kind):
                raise self._malformed(
                    f"column {theirs} is of type {kind}: must hold {wanted}; cast it, or name another with "
                    f"--columns {name}=…"
                )
        return names

    def _read(self, pyarrow: Any) -> Iterator[Tick]:
        theirs = [self._columns[name] for name in self._names]
        try:
            batches = self._file.iter_batches(_BATCH_ROWS, columns=theirs, use_threads=False)
            while (batch := next(batches, None)) is not None:
                columns = {name: _values(batch.column(self._columns[name]), pyarrow) for name in self._names}
                yield from self._ticks_of(columns)
        except self._errors as error:
            raise self._malformed(f"the data is damaged or cut off here: {_first_line(error)}") from error

    def _ticks_of(self, values: Mapping[str, list[Any]]) -> Iterator[Tick]:
        for each in zip(*values.values(), strict=True):
            self._row += 1
            row = {"symbol": self._symbol, **dict(zip(values, each, strict=True))}
            try:
                for name, time_of in self._time_of.items():
                    if row[name] is not None:
                        row[name] = time_of(name, row[name])
                tick = tick_of(**row)
            except BadRow as error:
                raise self._malformed(str(error)) from error
            yield tick

    def _number_ms(self, name: str, number: int) -> int:
        return epoch_ms(name, number, self._unit)

    def _malformed(self, reason: str) -> MalformedTrades:
        return MalformedTrades(self.name, self._row, reason, "row")


def _wanted(name: str, types: Any) -> tuple[Callable[[Any], bool], str]:
    """Which Arrow types a column of ours may have, and that in words."""
    if name in TEXTS:
        return lambda kind: types.is_string(kind) or types.is_large_string(kind), "text"
    if name in ("price", "size"):
        return (
            lambda kind: types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind),
            "numbers",
        )
    if name.endswith("_ms"):
        return lambda kind: types.is_integer(kind) or types.is_timestamp(kind), "Unix times in ms, or timestamps"
    return types.is_integer, "whole numbers"


def _values(column: Any, pyarrow: Any) -> list[Any]:
    """A column as plain Python values, None where there is none."""
    kind = column.type
    if pyarrow.types.is_timestamp(kind):
        column = column.cast(pyarrow.timestamp("ms"), safe=False).cast(pyarrow.int64())
    elif pyarrow.types.is_decimal(kind):
        return [None if value is None else float(value) for value in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _timestamp_ms(name: str, at_ms: int) -> int:
    if not FIRST_MS <= at_ms < END_MS:
        raise BadRow(
            f"{name} is {np.datetime64(at_ms, 'ms')}: must be of the years 1980 to 2099; if the column was made of "
            "numbers, they were of another unit"
        )
    return at_ms


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
