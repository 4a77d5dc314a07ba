"""Candles from the bytes of their schema, read as columns: one step a field for all records of a fetch.

Records that this cannot read (other schemas, long names, damaged bytes) are left to the reader of single records, which
has the words for errors.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from stockstream.codecs.candle_writer import ORDER
from stockstream.codecs.interning import Interner
from stockstream.codecs.tick_columns import HEADER_BYTES, header_numbers, others_than, text_of
from stockstream.codecs.walk import WORD_BYTES, Buffer, Ints, Walk, Words
from stockstream.core.candle_columns import OPTIONAL, CandleColumns
from stockstream.models import CANDLE_SCHEMA
from stockstream.models.candle import STATES
from stockstream.models.records import Records

_SYMBOL_WORDS, _LABEL_WORDS = 8, 2
_PRICES = ("open", "high", "low", "close")
_FLAGS = ("partial", "gap", "corrected")


class CandleColumnsReader:
    """Reads the plain ones of records into `CandleColumns`; remembers names from call to call."""

    def __init__(self) -> None:
        if tuple(field["name"] for field in CANDLE_SCHEMA["fields"]) != ORDER:
            raise RuntimeError("the order of the candle schema's fields has changed")
        self._names = Interner(_SYMBOL_WORDS + 2 * _LABEL_WORDS, _names)

    def read(self, records: Records, headers: Collection[bytes]) -> tuple[CandleColumns, Ints]:
        """The columns of the plain ones of ``records`` that begin with one of ``headers``, and the places of others."""
        self._names.make_room()
        walk = Walk(Buffer(records.data), records.value_begin)
        (rows,) = np.isin(header_numbers(walk), [int.from_bytes(header, "little") for header in headers]).nonzero()
        walk = walk.of(rows)
        walk.skip(HEADER_BYTES)
        columns = self._fields(walk)
        walk.bad |= walk.pos != records.value_end[rows]
        good = ~walk.bad
        place = rows[good]
        read = CandleColumns(
            place=place,
            offset=records.offsets[place],
            names=self._names.values,
            **{name: column[good] for name, column in columns.items()},
        )
        return read, others_than(place, len(records))

    def _fields(self, walk: Walk) -> dict[str, Any]:
        columns: dict[str, Any] = {"name": self._name(walk)}
        columns["window_start"], columns["window_end"] = walk.long(), walk.long()
        for name in _PRICES:
            columns[name] = walk.double()
        for name in OPTIONAL:
            columns[name], columns[f"has_{name}"] = _optional(walk, is_double=name != "trades")
        columns["is_closed"] = walk.bool()
        columns["version"], columns["session_open"], columns["session_close"] = walk.long(), walk.long(), walk.long()
        for name in _FLAGS:
            columns[name] = walk.bool()
        columns["state"] = state = walk.long()
        walk.bad |= (state < 0) | (state >= len(STATES)) | (columns["version"] < 0) | (columns["trades"] < 0)
        return columns

    def _name(self, walk: Walk) -> Ints:
        symbol, _ = walk.text(_SYMBOL_WORDS)
        interval, _ = walk.text(_LABEL_WORDS)
        session, _ = walk.text(_LABEL_WORDS)
        nothing = np.zeros_like(symbol[0])
        row: list[Words] = [
            *(text[word] if word < len(text) else nothing for text in (interval, session) for word in range(2)),
            *symbol,
        ]
        name = self._names.numbers(row, walk.bad)
        walk.bad |= name < 0
        return name


def _optional(walk: Walk, *, is_double: bool) -> tuple[Any, Any]:
    """A number that may be missing, and where it is there."""
    present = walk.branch()
    count = len(walk.bad)
    if present is None:
        return np.zeros(count, np.float64 if is_double else np.int64), np.zeros(count, np.bool_)
    if present.all():
        return walk.double() if is_double else walk.long(), present
    (rows,) = present.nonzero()
    some = walk.of(rows)
    read: Any = some.double() if is_double else some.long()
    numbers = np.zeros(count, read.dtype)
    numbers[rows] = read
    walk.put(rows, some)
    return numbers, present


def _names(row: bytes) -> tuple[str, str, str]:
    label = _LABEL_WORDS * WORD_BYTES
    interval, session, symbol = row[:label], row[label : 2 * label], row[2 * label :]
    return text_of(symbol), text_of(interval), text_of(session)
