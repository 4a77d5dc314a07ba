"""What decides no candle of version 2 ticks, read as columns: the fields behind ``producer_timestamp``."""

from __future__ import annotations

from typing import Any

import numpy as np

from stockstream.codecs.interning import Interner
from stockstream.codecs.tick_columns import VENUE_WORDS, text_of
from stockstream.codecs.walk import Buffer, Ints, Mask, Walk
from stockstream.core.archive import Coded, Column, Optional, Texts
from stockstream.models import TICK_SCHEMA_V2

_TEXT_WORDS = 8
_ORDER = ("timestamp", "exchange", "quote_type", "market_hours", "change_percent", "change", "price_hint", "source")


class TickRest:
    """Reads the rest of records that were walked to their ends before; remembers texts from call to call."""

    def __init__(self) -> None:
        names = [field["name"] for field in TICK_SCHEMA_V2["fields"]]
        begin = names.index(_ORDER[0])
        end = begin + len(_ORDER)
        if tuple(names[begin:end]) != _ORDER:
            raise RuntimeError("the order of the tick schema's fields has changed")
        self._nullable = {field["name"]: field["type"][1] for field in TICK_SCHEMA_V2["fields"][end:]}
        self._texts = Interner(_TEXT_WORDS, text_of)

    def read(self, data: bytes, at: Ints) -> tuple[dict[str, Column], Mask]:
        """The fields that `Columns` lacks, and which records are ``bad``, so that what is read of them is not true.

        ``at`` is where each record's ``timestamp`` begins. Fields that may be null, and are in all records, are left
        out.
        """
        self._texts.make_room()
        walk = Walk(Buffer(data), at)
        columns: dict[str, Column] = {"timestamp": Texts(walk.texts())}
        walk.text(VENUE_WORDS)
        for name in ("quote_type", "market_hours"):
            columns[name] = self._int(walk)
        columns["change_percent"], columns["change"] = walk.double(), walk.double()
        columns["price_hint"] = self._coded(walk)
        walk.text(VENUE_WORDS)
        for name, kind in self._nullable.items():
            present = walk.branch()
            if present is not None:
                columns[name] = self._nullables(walk, kind, present)
        return columns, walk.bad

    def _int(self, walk: Walk) -> Any:
        wide = walk.long()
        number = wide.astype(np.int32)
        walk.bad |= number != wide
        return number

    def _coded(self, walk: Walk) -> Coded:
        words, _ = walk.text(_TEXT_WORDS)
        codes = self._texts.numbers(words, walk.bad)
        walk.bad |= codes < 0
        return Coded(codes, self._texts.values)

    def _nullables(self, walk: Walk, kind: str, present: Mask) -> Column:
        (rows,) = present.nonzero()
        some = walk.of(rows)
        if kind == "string":
            coded = self._coded(some)
            codes = np.full(len(present), -1)
            codes[rows] = coded.codes
            column: Column = Coded(codes, coded.values)
        else:
            read: Any = some.double() if kind == "double" else some.long()
            numbers = np.zeros(len(present), read.dtype)
            numbers[rows] = read
            column = Optional(numbers, present)
        walk.put(rows, some)
        return column
