"""Records of a tick topic to what the archive keeps of them, as columns."""

from __future__ import annotations

import numpy as np

from stockstream.codecs.avro import SchemaSource, TickDecoder
from stockstream.codecs.tick_rest import TickRest
from stockstream.core.archive import Archive, judged
from stockstream.core.verdict import Policy
from stockstream.models.records import Records


class ArchiveDecoder(TickDecoder):
    """A `TickDecoder` that also reads all fields of plain records as columns, and has ``policy`` judge them."""

    def __init__(self, source: SchemaSource, policy: Policy) -> None:
        super().__init__(source)
        self._policy = policy
        self._rest = TickRest()

    def archive(self, records: Records) -> tuple[Archive, list[int]]:
        """The plain ones of ``records``, and the places of all others, for `decode`."""
        columns, rest_at, others = self.columns_to_rest(records)
        rest, bad = self._rest.read(records.data, rest_at)
        if bad.any():
            others = sorted([*others, *columns.place[bad].tolist()])
            (good,) = np.nonzero(~bad)
            columns = columns.of(good)
            rest, _ = self._rest.read(records.data, rest_at[good])
        return judged(columns, rest, self._policy), others
