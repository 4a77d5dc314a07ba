"""States of candles as columns: one array a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import Bools, Floats, Ints
from stockstream.models import Candle
from stockstream.models.candle import STATES

OPTIONAL = ("volume", "vwap", "trades")


@dataclass(frozen=True, slots=True)
class CandleColumns:
    """Candles of one partition in the order of their log; every array has one entry a candle.

    ``place`` is where the candle stands in the records that it was read from, ascending, and ``offset`` its place in
    the log. ``name`` is an index into ``names``, which are (symbol, interval, session); ``state`` one into `STATES`.
    ``volume``, ``vwap`` and ``trades`` count where ``has_volume``, ``has_vwap`` and ``has_trades``.
    """

    place: Ints
    offset: Ints
    name: Ints
    names: Sequence[tuple[str, str, str]]
    window_start: Ints
    window_end: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    has_volume: Bools
    vwap: Floats
    has_vwap: Bools
    trades: Ints
    has_trades: Bools
    is_closed: Bools
    version: Ints
    session_open: Ints
    session_close: Ints
    partial: Bools
    gap: Bools
    corrected: Bools
    state: Ints

    def __len__(self) -> int:
        return len(self.place)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self) * _ROW_BYTES

    def of(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> CandleColumns:
        """The candles at these indices."""
        arrays: dict[str, Any] = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        return replace(self, **arrays)

    def candle(self, index: int) -> Candle:
        """One of them."""
        symbol, interval, session = self.names[self.name[index]]
        fields = {name: getattr(self, name)[index].item() for name in _ARRAYS if name in Candle.__slots__}
        absent = {name: None for name in OPTIONAL if not getattr(self, f"has_{name}")[index]}
        fields |= {"state": STATES[self.state[index]], **absent}
        return Candle(symbol=symbol, interval=interval, session=session, **fields)


def joined(parts: Sequence[CandleColumns]) -> CandleColumns:
    """All of them, in their order; their ``names`` are the same list, their places are those among all."""
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    return replace(parts[0], **arrays | {"place": np.arange(sum(map(len, parts)))})


_ARRAYS = tuple(name for name in CandleColumns.__slots__ if name != "names")
_ROW_BYTES = 16 * 8 + 7


def newest(parts: Sequence[CandleColumns]) -> list[Bools]:
    """Of each part the candles that no other of all parts replaces: the greatest version, of equal ones the last."""
    kept = np.ones(sum(map(len, parts)), np.bool_)
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    where = list(pairwise(ends))
    for names in {id(part.names): part.names for part in parts}.values():
        (ours,) = np.concatenate([np.full(len(part), part.names is names) for part in parts]).nonzero()
        chosen = [part for part in parts if part.names is names]
        name = np.concatenate([part.name for part in chosen])
        start = np.concatenate([part.window_start for part in chosen])
        version = np.concatenate([part.version for part in chosen])
        order = np.lexsort((version, start, name))  # stable, so that equal versions stay in their order
        same = (name[order[1:]] == name[order[:-1]]) & (start[order[1:]] == start[order[:-1]])
        kept[ours[order[:-1][same]]] = False
    return [kept[begin:end] for begin, end in where]
