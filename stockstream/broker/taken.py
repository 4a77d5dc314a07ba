"""Which stretch of its partition's log a fetch covers, so that offsets without a record are told from lost records.

Transaction markers, and what compaction removed, leave offsets that no record will ever have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from faust.types import TP

from stockstream.models.records import Records


@dataclass(frozen=True, slots=True)
class Fetch:
    """``records`` of one partition, at least one; its log holds no others in ``[begin, end)``."""

    records: Records
    begin: int
    end: int


class Taken:
    """How far each partition's log was taken from the client.

    `take` and `seek` are called in the client's thread, `reached` in any.
    """

    def __init__(self) -> None:
        self._ends: dict[TP, int] = {}
        self._positions: Mapping[TP, int] = {}

    def take(self, records: Mapping[TP, Records], positions: Mapping[TP, int]) -> dict[TP, Fetch]:
        """``records`` were taken, all together; ``positions`` is where reading goes on in every partition."""
        fetches = {}
        for tp, batch in records.items():
            first, end = batch.offset(0), batch.offset(-1) + 1
            begin = min(first, self._ends.get(tp, first))
            self._ends[tp] = end = max(end, positions.get(tp, end))
            fetches[tp] = Fetch(batch, begin, end)
        self._positions = positions  # last, for `reached`
        return fetches

    def seek(self, offsets: Mapping[TP, int]) -> None:
        """Reading is about to go on from these offsets instead."""
        self._positions = {tp: at for tp, at in self._positions.items() if tp not in offsets}
        self._ends.update(offsets)

    def reached(self, tp: TP, offset: int) -> int:
        """How far the log is known to hold no record from ``offset`` on: at least ``offset``."""
        position = self._positions.get(tp, offset)  # first: whatever it lies behind is in `_ends` by now
        return max(offset, position) if self._ends.get(tp, offset) <= offset else offset
