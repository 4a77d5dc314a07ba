"""Blocks of columns in ClickHouse's format ``Native``: of each column its name, its type and its values in a row.

The types are those of the values; where a table has others of the kind, ClickHouse converts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockstream.core.archive import VERDICTS, Coded, Column, Optional, Texts
from stockstream.models import Tick
from stockstream.models.tick import KINDS
from stockstream.sinks.contract import TickBlock

_TYPES = {"i4": "Int32", "i8": "Int64", "u1": "UInt8", "u4": "UInt32", "u8": "UInt64", "f8": "Float64"}
_NUMBERS = ("event_time", "price", "last_size", "day_volume", "trade_id")
_TEXTS = {f.name for f in fields(Tick) if f.metadata["avro"] == ["null", "string"]}
# Of a column with a dictionary: its version; in each block, that the dictionary follows and replaces the one before.
_DICTIONARY = (1).to_bytes(8, "little")
_KEYS_FOLLOW = 0x600
_INDEXES = (np.uint8, np.uint16, np.uint32)


def native_ticks(blocks: Sequence[TickBlock], epoch: int) -> tuple[list[str], bytes]:
    """The names of columns of the archive, and the ticks in them, in the order of the archive's key.

    Columns without a value that differs from what the table has by itself, which is zero or null, are left out.
    """
    ordered = sorted(blocks, key=lambda block: (block.topic, block.partition, int(block.archive.columns.offset[0])))
    all_columns = [_columns(block, epoch) for block in ordered]
    names = list(dict.fromkeys(name for columns in all_columns for name in columns if name != "epoch" or epoch))
    names = [name for name in names if any(_has_values(columns.get(name)) for columns in all_columns)]
    parts: list[bytes] = []
    for block, columns in zip(ordered, all_columns, strict=True):
        parts += [_varint(len(names)), _varint(len(block))]
        for name in names:
            column = columns.get(name)
            parts += [_text(name), *_written(_nulls(name, len(block)) if column is None else column, len(block))]
    return names, b"".join(parts)


def _columns(block: TickBlock, epoch: int) -> dict[str, Column]:
    ticks, rest = block.archive.columns, dict(block.archive.rest)
    count = len(block)
    columns: dict[str, Any] = {
        "topic": Coded(np.zeros(count, np.int64), [block.topic]),
        "partition": np.full(count, block.partition, np.uint32),
        "offset": ticks.offset.astype(np.uint64),
        "epoch": np.full(count, epoch, np.uint8),
        "verdict": Coded(block.archive.verdicts, VERDICTS),
        "symbol": Coded(ticks.symbol, ticks.symbols),
        "kind": Coded(ticks.kind, KINDS),
        "producer_timestamp": ticks.received,
        "source": _venues(ticks.venue, ticks.venues, 0),
        "exchange": _venues(ticks.venue, ticks.venues, 1),
    }
    columns |= {name: getattr(ticks, name) for name in _NUMBERS}
    if ticks.has_sequence.any():
        rest["sequence"] = Optional(ticks.sequence, ticks.has_sequence)
    return columns | rest


def _venues(codes: NDArray[np.int64], venues: Sequence[tuple[str, str]], which: int) -> Coded:
    used, codes = _used(codes, len(venues))
    return Coded(codes, [venues[code][which] for code in used])


def _used(codes: NDArray[Any], count: int) -> tuple[list[int], NDArray[np.int64]]:
    """Which codes below ``count`` there are, ascending, and the codes as places among them."""
    is_used = np.zeros(count, np.bool_)
    is_used[codes] = True
    (used,) = is_used.nonzero()
    return used.tolist(), (np.cumsum(is_used) - 1)[codes]


def _has_values(column: Column | None) -> bool:
    if column is None:
        return False
    # Its bytes, since of two zeros one is negative.
    return not isinstance(column, np.ndarray) or bool(column.view(np.uint8).any())


def _nulls(name: str, count: int) -> Column:
    if name in _TEXTS:
        return Coded(np.full(count, -1), [])
    return Optional(np.zeros(count, np.int64), np.zeros(count, np.bool_))


def _written(column: Column, count: int) -> Iterable[bytes]:
    """A column's type and values."""
    if isinstance(column, Texts):
        return _text("String"), column.data
    if isinstance(column, Coded):
        return _with_dictionary(column, count)
    if isinstance(column, Optional):
        kind = _text(f"Nullable({_TYPES[column.numbers.dtype.str[1:]]})")
        return kind, (~column.present).tobytes(), column.numbers.tobytes()
    return _text(_TYPES[column.dtype.str[1:]]), column.tobytes()


def _with_dictionary(column: Coded, count: int) -> Iterable[bytes]:
    is_nullable = bool((column.codes < 0).any())
    if is_nullable:
        present = column.codes >= 0
        used, some = _used(column.codes[present], len(column.values))
        codes = np.zeros(count, np.int64)
        codes[present] = some + 1
        keys = ["", *(column.values[code] for code in used)]  # the first one is null, whatever its text
    else:
        used, codes = _used(column.codes, len(column.values))
        keys = [column.values[code] for code in used]
    size = next(size for size, index in enumerate(_INDEXES) if len(keys) <= 1 << 8 * np.dtype(index).itemsize)
    return (
        _text("LowCardinality(Nullable(String))" if is_nullable else "LowCardinality(String)"),
        _DICTIONARY,
        _long(size | _KEYS_FOLLOW),
        _long(len(keys)),
        *map(_text, keys),
        _long(count),
        codes.astype(_INDEXES[size]).tobytes(),
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return _varint(len(data)) + data


def _long(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
