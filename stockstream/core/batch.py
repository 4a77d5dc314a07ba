"""A batch of ticks, judged and reduced by symbol and minute, before any row is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stockstream.core.interval import LEDGER, REGULAR, Key, window_start
from stockstream.core.piece import Minute, Piece, Stamped, clock_name, piece_of
from stockstream.core.runs import Run
from stockstream.core.trading import Trading, place_of
from stockstream.core.verdict import Policy
from stockstream.models import Verdict


@dataclass(slots=True)
class Batch:
    """``count`` judged ticks, the last of them at ``last`` (a stamp, -1 if there is none).

    The accepted ones are in ``pieces``, ``runs`` (by symbol, those of columns), ``quotes`` (by symbol, they make no
    candles) and ``controls``; ``refused`` are the verdicts on all others, by stamp.
    """

    count: int = 0
    last: int = -1
    pieces: dict[Minute, Piece] = field(default_factory=dict)
    runs: dict[Key, Run] = field(default_factory=dict)
    quotes: dict[Key, Piece] = field(default_factory=dict)
    controls: list[Stamped] = field(default_factory=list)
    refused: dict[int, Verdict] = field(default_factory=dict)

    def verdict(self, stamp: int) -> Verdict:
        """What became of the tick at ``stamp``."""
        return self.refused.get(stamp, Verdict.ACCEPTED)

    def verdicts(self) -> dict[Verdict, int]:
        """How many ticks became what."""
        accepted = self.count - len(self.refused)
        counts = {Verdict.ACCEPTED: accepted} if accepted else {}
        return {**counts, **Counter(self.refused.values())} if self.refused else counts

    def refuse(self, ticks: Iterable[Stamped], verdict: Verdict) -> None:
        """Say of ticks that were accepted that they are not."""
        for stamp, _ in ticks:
            self.refused[stamp] = verdict


def add_ticks(batch: Batch, policy: Policy, trading: Trading, ticks: Sequence[Stamped]) -> None:
    """Judge ticks, given in log order, and reduce them; their symbols must be new to the batch."""
    minutes: dict[Minute, list[Stamped]] = {}
    quotes: dict[Key, list[Stamped]] = {}
    for stamped in ticks:
        stamp, tick = stamped
        verdict = policy.judge(tick)
        if verdict is not Verdict.ACCEPTED:
            batch.refused[stamp] = verdict
        elif tick.kind == "trade" or tick.kind == "snapshot":
            session, day_ms = place_of(trading.hours(clock_name(tick.source, tick.exchange)), tick)
            at = Minute((tick.symbol, session), window_start(LEDGER, tick.event_time), day_ms)
            found = minutes.get(at)
            if found is None:
                minutes[at] = [stamped]
            else:
                found.append(stamped)
        elif tick.kind == "quote":
            quotes.setdefault((tick.symbol, REGULAR), []).append(stamped)
        else:
            batch.controls.append(stamped)
    batch.pieces.update((at, piece_of(found)) for at, found in minutes.items())
    batch.quotes.update((key, piece_of(found)) for key, found in quotes.items())
    batch.count += len(ticks)
    if ticks:
        batch.last = max(batch.last, ticks[-1][0])
