"""Records of a fetch turned into ticks: as columns where that can be, one by one where it must, with what is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stockstream.codecs.avro import BadRecord, TickDecoder
from stockstream.core.batch import Batch
from stockstream.core.columns import START, Columns
from stockstream.core.piece import Stamped
from stockstream.core.row import stamp
from stockstream.models import Tick, Verdict
from stockstream.models.records import Records
from stockstream.models.verdict import LETTERED


class Letter(NamedTuple):
    """A record that no candle takes: its original bytes, and why."""

    key: bytes | None
    value: bytes | None
    offset: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Intake:
    """What a fetch holds. ``ticks`` and ``columns`` have no symbol in common; ``letters`` are of what is no tick."""

    ticks: list[Stamped]
    columns: Columns
    letters: list[Letter]


def take_in(records: Records, decoder: TickDecoder, epoch: int) -> Intake:
    """Decode records, which are in the order of their log.

    A symbol with a control record, or with one that has to be decoded by itself, is taken one by one as a whole.
    """
    columns, others = decoder.columns(records)
    ticks: list[Stamped] = []
    letters: list[Letter] = []
    first = stamp(epoch, 0)
    for key, value, offset in records.at(others):
        try:
            ticks.append((first + offset, decoder.decode(key, value)))
        except BadRecord as error:
            letters.append(Letter(key, value, offset, error.verdict, str(error)))
    if not len(columns):
        return Intake(ticks, columns, letters)
    apart = {tick.symbol for _, tick in ticks}
    controls = columns.kind >= START
    if apart or controls.any():
        is_apart = np.zeros(len(columns.symbols), np.bool_)
        is_apart[columns.symbol] = True
        is_apart[[at for at in np.flatnonzero(is_apart).tolist() if columns.symbols[at] not in apart]] = False
        is_apart[columns.symbol[controls]] = True
        chosen = is_apart[columns.symbol]
        for index in np.flatnonzero(chosen).tolist():
            ticks.append((first + int(columns.offset[index]), columns.tick(index)))
        columns = columns.of(np.flatnonzero(~chosen))
        ticks.sort(key=lambda stamped: stamped[0])
    return Intake(ticks, columns, letters)


def letters_of(batch: Batch, records: Records, decoder: TickDecoder, epoch: int) -> list[Letter]:
    """Those of the ticks that were refused."""
    letters = []
    first = stamp(epoch, 0)
    for at, verdict in batch.refused.items():
        if verdict in LETTERED:
            place = int(np.searchsorted(records.offsets, at - first))
            key, value = records.key(place), records.value(place)
            letters.append(Letter(key, value, at - first, verdict, _why(verdict, decoder.decode(key, value))))
    return letters


def _why(verdict: Verdict, tick: Tick) -> str:
    """One line on why a tick was refused."""
    detail: Mapping[Verdict, str] = {
        Verdict.LATE: f"it happened at {tick.event_time} and was received at {tick.received_ms}",
        Verdict.FUTURE: f"it says {tick.event_time} but was received at {tick.received_ms}",
        Verdict.BAD_PRICE: f"its price is {tick.price}",
        Verdict.BAD_SIZE: f"its size is {tick.last_size}",
        Verdict.BAD_TIME: f"its times are {tick.event_time} and {tick.received_ms}",
        Verdict.BAD_SYMBOL: f"its symbol is {tick.symbol[:80]!r}",
        Verdict.EXPIRED: "its candle is no longer kept; a rebuild can still take it",
        Verdict.FOREIGN_TOPIC: "its symbol's candles are made of another topic",
    }
    return detail[verdict]
