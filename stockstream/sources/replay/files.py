"""Opens a recording, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stockstream.errors import InvalidInput
from stockstream.sources.replay.parquet import ParquetFile
from stockstream.sources.replay.rows import DEFAULT_SYMBOL, PARQUET_MAGIC, Recording, TimeUnit
from stockstream.sources.replay.trades_file import TradesFile


def open_recording(
    path: str, columns: Mapping[str, str] | None = None, symbol: str = DEFAULT_SYMBOL, unit: TimeUnit | None = None
) -> Recording:
    """The ticks of a file: CSV or JSON lines, plain or gzip, or Parquet; ``-`` is standard input, which has no Parquet.

    ``columns`` maps our names to the file's, ``symbol`` names the instrument of a file without that column, ``unit`` is
    that of its times (None: not said, so ms). Raises `InvalidInput` if it cannot be opened, and `MalformedTrades` if it
    has not the columns.
    """
    if path != "-" and _is_parquet(path):
        return ParquetFile(path, columns, symbol, unit)
    return TradesFile(path, columns, symbol, unit)


def _is_parquet(path: str) -> bool:
    if not Path(path).is_file():
        return False  # what a pipe has given it does not give again
    try:
        with open(path, "rb") as file:
            return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
