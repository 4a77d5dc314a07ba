"""Our candles beside those that a venue makes itself, or that are stored: what differs, and how many do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from stockstream.cli.candles import shortest_decimal
from stockstream.models import Candle
from stockstream.sources.contract import VenueCandle

_FIELDS = ("open", "high", "low", "close", "volume", "trades")
_STORED = tuple(
    each.name for each in fields(Candle) if each.name not in ("symbol", "interval", "session", "window_start")
)
_VWAP_TOLERANCE = 1e-12
_NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs in the window that begins at ``start_ms``, as text.

    ``field`` is ``candle`` where one side has none.
    """

    start_ms: int
    field: str
    ours: str
    theirs: str


@dataclass(slots=True)
class Comparison:
    """What became of the windows that were compared; ``marked`` of the different ones are partial or have a gap."""

    equal: int = 0
    different: int = 0
    marked: int = 0
    missing_here: int = 0
    missing_there: int = 0

    @property
    def compared(self) -> int:
        """Windows in which either side has trades."""
        return self.equal + self.different + self.missing_here + self.missing_there

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return self.equal == self.compared

    def add(self, ours: Sequence[Candle], theirs: Sequence[VenueCandle]) -> list[Difference]:
        """Count both sides' candles of some windows; what differs, ascending.

        A venue's candle without trades is none.
        """
        here = {candle.window_start: candle for candle in ours}
        there = {candle.window_start: candle for candle in theirs if candle.trades}
        found: list[Difference] = []
        for start_ms in sorted(here.keys() | there.keys()):
            found += self._compared(start_ms, here.get(start_ms), there.get(start_ms))
        return found

    def _compared(self, start_ms: int, ours: Candle | None, theirs: VenueCandle | None) -> list[Difference]:
        if ours is None or theirs is None:
            self.missing_here += ours is None
            self.missing_there += theirs is None
            return [Difference(start_ms, "candle", _trades(ours), _trades(theirs))]
        pairs = [(field, getattr(ours, field), getattr(theirs, field)) for field in _FIELDS]
        found = [Difference(start_ms, field, _text(mine), _text(its)) for field, mine, its in pairs if mine != its]
        self.equal += not found
        self.different += bool(found)
        self.marked += bool(found) and (ours.partial or ours.gap)
        return found


def differences(start_ms: int, ours: Candle | None, theirs: Candle | None) -> list[Difference]:
    """What differs between two states of one candle, in every field; vwap may by what its sums are rounded to."""
    if ours is None or theirs is None:
        return [] if ours is theirs else [Difference(start_ms, "candle", _trades(ours), _trades(theirs))]
    pairs = [(field, getattr(ours, field), getattr(theirs, field)) for field in _STORED]
    return [
        Difference(start_ms, field, _shown(mine), _shown(its))
        for field, mine, its in pairs
        if not _same(field, mine, its)
    ]


def _same(field: str, ours: object, theirs: object) -> bool:
    if field == "vwap" and isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=_VWAP_TOLERANCE)
    return ours == theirs


def _shown(value: object) -> str:
    if value is None or isinstance(value, float):
        return _text(value)
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _trades(candle: Candle | VenueCandle | None) -> str:
    if candle is None:
        return _NONE
    return "one" if candle.trades is None else f"{candle.trades:,} trade{'' if candle.trades == 1 else 's'}"


def _text(number: float | None) -> str:
    return _NONE if number is None else shortest_decimal(number)
