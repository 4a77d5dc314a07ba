"""Blocks of columns in ClickHouse's format ``Native``: of each column its name, its type and its values in a row.

The types are those of the values; where a table has others of the kind, ClickHouse converts them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockstream.core.archive import Coded, Column, Optional, Texts
from stockstream.core.varint import varint

_TYPES = {"i4": "Int32", "i8": "Int64", "u1": "UInt8", "u4": "UInt32", "u8": "UInt64", "f8": "Float64", "b1": "Bool"}
# Of a column with a dictionary: its version; in each block, that the dictionary follows and replaces the one before.
_DICTIONARY = (1).to_bytes(8, "little")
_KEYS_FOLLOW = 0x600
_INDEXES = (np.uint8, np.uint16, np.uint32)


class Times(NamedTuple):
    """Epoch milliseconds."""

    numbers: NDArray[np.int64]


Written = Column | Times | NDArray[Any]


def native(blocks: Sequence[tuple[int, Mapping[str, Written]]], texts: Collection[str]) -> tuple[list[str], bytes]:
    """The names of the columns, and blocks of rows with these columns; a block is its number of rows and its columns.

    A column that a block lacks is null in it; ``texts`` are those of them that hold texts. Columns that hold nothing
    but zeros and nulls are left out, since that is what a table has by itself.
    """
    names = list(dict.fromkeys(name for _, columns in blocks for name in columns))
    names = [name for name in names if any(_has_values(columns.get(name)) for _, columns in blocks)]
    parts: list[bytes] = []
    for count, columns in blocks:
        parts += [varint(len(names)), varint(count)]
        for name in names:
            column = columns.get(name)
            parts += [_text(name), *_written(_nulls(count, name in texts) if column is None else column, count)]
    return names, b"".join(parts)


def used_of(codes: NDArray[Any], count: int) -> tuple[list[int], NDArray[np.int64]]:
    """Which codes below ``count`` there are, ascending, and the codes as places among them."""
    is_used = np.zeros(count, np.bool_)
    is_used[codes] = True
    (used,) = is_used.nonzero()
    return used.tolist(), (np.cumsum(is_used) - 1)[codes]


def _has_values(column: Written | None) -> bool:
    if column is None:
        return False
    # Its bytes, since of two zeros one is negative.
    return not isinstance(column, np.ndarray) or bool(column.view(np.uint8).any())


def _nulls(count: int, is_text: bool) -> Column:
    if is_text:
        return Coded(np.full(count, -1), [])
    return Optional(np.zeros(count, np.int64), np.zeros(count, np.bool_))


def _written(column: Written, count: int) -> Iterable[bytes]:
    """A column's type and values."""
    if isinstance(column, Texts):
        return _text("String"), column.data
    if isinstance(column, Coded):
        return _with_dictionary(column, count)
    if isinstance(column, Times):
        return _text("DateTime64(3, 'UTC')"), column.numbers.tobytes()
    if isinstance(column, Optional):
        kind = _text(f"Nullable({_TYPES[column.numbers.dtype.str[1:]]})")
        return kind, (~column.present).tobytes(), column.numbers.tobytes()
    return _text(_TYPES[column.dtype.str[1:]]), column.tobytes()


def _with_dictionary(column: Coded, count: int) -> Iterable[bytes]:
    present = column.codes >= 0
    is_nullable = not present.all()
    if is_nullable:
        used, some = used_of(column.codes[present], len(column.values))
        codes = np.zeros(count, np.int64)
        codes[present] = some + 1
        keys = ["", *(column.values[code] for code in used)]  # the first one is null, whatever its text
    else:
        used, codes = used_of(column.codes, len(column.values))
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
    return varint(len(data)) + data


def _long(number: int) -> bytes:
    return number.to_bytes(8, "little")
