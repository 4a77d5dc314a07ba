"""Decoders that also read the records of a fetch as columns with all fields, for the sink."""

from __future__ import annotations

import numpy as np

from stockstream.codecs.avro import CandleDecoder, SchemaSource, TickDecoder
from stockstream.codecs.candle_columns import CandleColumnsReader
from stockstream.codecs.candle_reader import CandleReader
from stockstream.codecs.tick_rest import TickRest
from stockstream.core.archive import Archive, judged
from stockstream.core.candle_columns import CandleColumns
from stockstream.core.verdict import Policy
from stockstream.models.records import Records

# Columns cost 500 us however few there are, a single candle some 20 until it is in ClickHouse.
_FEWEST_CANDLES = 25


class WholeTickDecoder(TickDecoder):
    """A `TickDecoder` that reads plain ticks as columns too, which ``policy`` judges."""

    def __init__(self, source: SchemaSource, policy: Policy) -> None:
        super().__init__(source)
        self._policy = policy
        self._rest = TickRest()

    def read(self, records: Records) -> tuple[Archive, list[int]]:
        """The plain ones of ``records``, and the places of all others, for `decode`."""
        columns, rest_at, others = self.columns_to_rest(records)
        if not len(columns):
            return Archive(columns, {}, np.zeros(0, np.uint8)), others
        rest, bad = self._rest.read(records.data, rest_at)
        if bad.any():
            others = sorted([*others, *columns.place[bad].tolist()])
            (good,) = np.nonzero(~bad)
            columns = columns.of(good)
            rest, _ = self._rest.read(records.data, rest_at[good])
        return judged(columns, rest, self._policy), others


class WholeCandleDecoder(CandleDecoder):
    """A `CandleDecoder` that reads plain candles as columns too."""

    def __init__(self, source: SchemaSource) -> None:
        super().__init__(source)
        self._columns = CandleColumnsReader()
        self._nothing, _ = self._columns.read(Records.of(()), ())

    def read(self, records: Records) -> tuple[CandleColumns, list[int]]:
        """The plain ones of ``records``, and the places of all others, for `decode`."""
        if len(records) < _FEWEST_CANDLES:
            return self._nothing, list(range(len(records)))
        columns, others = self._columns.read(records, self._plain_headers)
        return columns, others.tolist()

    @property
    def _plain_headers(self) -> list[bytes]:
        return [header for header, reader in self._readers.items() if isinstance(reader, CandleReader)]
