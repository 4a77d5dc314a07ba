"""What a rebuild would change: the candles of a topic without what came too late, beside those with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stockstream.cli.comparison import Difference, differences
from stockstream.cli.times import Span
from stockstream.core.columns import Columns
from stockstream.core.interval import start_in
from stockstream.core.offline import OfflineEngine
from stockstream.core.piece import Stamped, clock_name
from stockstream.core.rules import CandleRules
from stockstream.core.trading import place_of
from stockstream.models import Candle, Tick, Verdict

_REPAIRED = {Verdict.LATE, Verdict.EXPIRED}
_BY_READING = {"version", "state", "is_closed"}


@dataclass(frozen=True, slots=True)
class TooLate:
    """A tick that no candle took, its place in the topic, and the window that it belongs to."""

    session: str
    start_ms: int
    partition: int
    offset: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A candle that a rebuild would make differently, and the ticks that make it so."""

    symbol: str
    differences: Sequence[Difference]
    ticks: Sequence[TooLate]


class Rebuilt:
    """Folds ticks twice: as workers do, and with lateness off and no row forgotten, as a rebuild does."""

    def __init__(self, rules: CandleRules, span: Span) -> None:
        """``span``: which candles are asked for."""
        self._trading = rules.trading
        self._span = span
        self._now = OfflineEngine(rules.policy, rules.trading, rules.retention_ms)
        self._then = OfflineEngine(replace(rules.policy, accepted_lateness_ms=None), rules.trading)
        self._too_late: dict[str, list[TooLate]] = {}

    @property
    def verdicts(self) -> Counter[Verdict]:
        """What workers make of the ticks."""
        return self._now.verdicts

    def add(self, partition: int, ticks: Sequence[Stamped], columns: Columns) -> None:
        """Fold the next ticks of a partition, as `OfflineEngine.add_columns` does; stamps are of epoch 0."""
        refused = self._now.add_columns(ticks, columns)
        self._then.add_columns(ticks, columns)
        offsets = {at for at, verdict in refused.items() if verdict in _REPAIRED}
        if not offsets:
            return
        for at, tick in (*ticks, *_of_columns(columns, offsets)):
            if at in offsets:
                self._keep(partition, at, tick, refused[at])

    def end(self) -> None:
        """Say that all was given."""
        self._now.finish()
        self._then.finish()

    def changes(self, session: str) -> Iterator[Change]:
        """The candles of a session that would be different, by symbol and window."""
        now = {candle.key: candle for candle, _ in self._now.candles(self._span.interval)}
        for candle, _ in self._then.candles(self._span.interval):
            if candle.session == session and self._span.holds(candle.window_start):
                found = [
                    each
                    for each in differences(candle.window_start, now.get(candle.key), candle)
                    if each.field not in _BY_READING
                ]
                if found:
                    yield Change(candle.symbol, found, self._behind(candle))

    def _keep(self, partition: int, offset: int, tick: Tick, verdict: Verdict) -> None:
        session, day_ms = place_of(self._trading.hours(clock_name(tick.source, tick.exchange)), tick)
        start_ms = start_in(self._span.interval, tick.event_time, day_ms)
        if start_ms is not None:
            too_late = TooLate(session, start_ms, partition, offset, verdict)
            self._too_late.setdefault(tick.symbol, []).append(too_late)

    def _behind(self, candle: Candle) -> list[TooLate]:
        """The ticks of the candle's window; without one those of the nearest before it: its volume counts from that."""
        known = [tick for tick in self._too_late.get(candle.symbol, []) if tick.start_ms <= candle.window_start]
        own = [tick for tick in known if (tick.session, tick.start_ms) == (candle.session, candle.window_start)]
        nearest = max((tick.start_ms for tick in known), default=None)
        return own or [tick for tick in known if tick.start_ms == nearest]


def _of_columns(columns: Columns, offsets: set[int]) -> Iterator[Stamped]:
    for index, offset in enumerate(columns.offset.tolist()):
        if offset in offsets:
            yield offset, columns.tick(index)
