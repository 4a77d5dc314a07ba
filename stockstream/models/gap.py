"""One hole as the ledger tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GapState = Literal["open", "repaired", "unrepairable"]
GAP_STATES: tuple[GapState, ...] = ("open", "repaired", "unrepairable")


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks of ``symbol`` are, or were, missing from ``from_ms`` to ``until_ms`` because of ``cause``.

    ``told_ms`` is when that became known, ``repaired_ms`` when it was repaired (None: it is not). ``reason`` says how
    it was repaired, why it cannot be, or why it was not at the last attempt. ``place`` is where its record stands in
    the log, as a stamp. Times are epoch ms.
    """

    symbol: str
    source: str
    from_ms: int
    until_ms: int
    cause: str
    place: int
    told_ms: int
    state: GapState = "open"
    reason: str | None = None
    repaired_ms: int | None = None
