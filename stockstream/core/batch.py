"""A batch of ticks, judged and reduced: one piece a symbol and minute, before any row is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from stockstream.core.interval import LEDGER, REGULAR, window_start
from stockstream.core.partial import Partial
from stockstream.core.rows import Key
from stockstream.core.verdict import Policy
from stockstream.models import Tick, Verdict

Stamped = tuple[int, Tick]
"""A tick and its place in the log (`stockstream.core.row.stamp`)."""

Minute = tuple[Key, int]
"""A symbol's key and the start of a 1m window, epoch ms."""

_CLOCK_NAME_LENGTH = 60  # of which each is at most 4 of the 255 bytes that a row has for it


def session_of(tick: Tick) -> str:
    """The session a tick belongs to; one for all until calendars tell them apart."""
    return REGULAR


def clock_name(source: str, exchange: str) -> str:
    """The name of the clock that a venue's ticks move and their candles close by; short enough for a row to hold."""
    return f"{source}/{exchange}"[:_CLOCK_NAME_LENGTH]


@dataclass(slots=True)
class Summary:
    """What a piece of columns amounts to, without a look at its ticks.

    ``ids`` are their trade ids as ranges (first, last, first, last, …), ascending with the log, or none; where they do
    not ascend a piece has no summary.
    """

    first: int
    last: int
    whole: Partial
    ids: list[int]


@dataclass(slots=True)
class Piece:
    """The accepted trades and snapshots of one symbol and minute.

    ``ticks()`` are (stamp, tick) in log order. ``clocks`` are the clocks that they move, the first tick's first, each
    with how far, epoch ms. ``summary``: None where they must be looked at one by one.
    """

    ticks: Callable[[], list[Stamped]]
    clocks: list[tuple[str, int]]
    summary: Summary | None = None


@dataclass(slots=True)
class Batch:
    """``count`` judged ticks, the last of them at ``last`` (a stamp, -1 if there is none).

    The accepted ones are in ``pieces``, ``quotes`` (by symbol, they make no candles) and ``controls``; ``refused`` are
    the verdicts on all others, by stamp.
    """

    count: int = 0
    last: int = -1
    pieces: dict[Minute, Piece] = field(default_factory=dict)
    quotes: dict[Key, Piece] = field(default_factory=dict)
    controls: list[Stamped] = field(default_factory=list)
    refused: dict[int, Verdict] = field(default_factory=dict)

    def verdict(self, stamp: int) -> Verdict:
        """What became of the tick at ``stamp``."""
        return self.refused.get(stamp, Verdict.ACCEPTED)

    def verdicts(self) -> Counter[Verdict]:
        """How many ticks became what."""
        counts = Counter(self.refused.values())
        accepted = self.count - len(self.refused)
        return Counter({Verdict.ACCEPTED: accepted, **counts}) if accepted else counts

    def refuse(self, ticks: Iterable[Stamped], verdict: Verdict) -> None:
        """Say of ticks that were accepted that they are not."""
        for stamp, _ in ticks:
            self.refused[stamp] = verdict


def piece_of(ticks: list[Stamped]) -> Piece:
    """A piece of ticks that are to be looked at one by one."""
    clocks: dict[str, int] = {}
    for _, tick in ticks:
        name, reached = clock_name(tick.source, tick.exchange), min(tick.event_time, tick.received_ms)
        clocks[name] = max(reached, clocks.get(name, reached))
    return Piece(lambda: ticks, list(clocks.items()))


def add_ticks(batch: Batch, policy: Policy, ticks: Sequence[Stamped]) -> None:
    """Judge ticks, given in log order, and reduce them; their symbols must be new to the batch."""
    minutes: dict[Minute, list[Stamped]] = {}
    quotes: dict[Key, list[Stamped]] = {}
    for stamped in ticks:
        stamp, tick = stamped
        verdict = policy.judge(tick)
        if verdict is not Verdict.ACCEPTED:
            batch.refused[stamp] = verdict
        elif tick.kind == "trade" or tick.kind == "snapshot":
            at = ((tick.symbol, session_of(tick)), window_start(LEDGER, tick.event_time))
            found = minutes.get(at)
            if found is None:
                minutes[at] = [stamped]
            else:
                found.append(stamped)
        elif tick.kind == "quote":
            quotes.setdefault((tick.symbol, session_of(tick)), []).append(stamped)
        else:
            batch.controls.append(stamped)
    batch.pieces.update((at, piece_of(found)) for at, found in minutes.items())
    batch.quotes.update((key, piece_of(found)) for key, found in quotes.items())
    batch.count += len(ticks)
    if ticks:
        batch.last = max(batch.last, ticks[-1][0])
