"""The records of one candle picked out of their log, each with the verdict that the engine gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stockstream.agents.intake import Intake, Letter
from stockstream.cli.explain.window import Found, Window
from stockstream.cli.place import Place
from stockstream.core.columns import QUOTE, Columns
from stockstream.core.engine import Engine
from stockstream.core.piece import Stamped, clock_name
from stockstream.core.publish import candle_of, volume_text
from stockstream.core.row import OFFSET_BITS, Row, stamp
from stockstream.core.rows import Rows
from stockstream.core.rules import CandleRules
from stockstream.core.volume import preceding
from stockstream.models import Candle, Tick, Verdict
from stockstream.models.tick import CONTROLS

_NOTHING_COMMITTED = -1  # so no row is evicted; what is expired is decided by the log alone


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a candle's volume counts from: the cumulative volume that the vendor told at ``event_ms``."""

    event_ms: int
    cumulative: int
    offset: int


class Fold:
    """Folds the records of one symbol, topic after topic, and keeps those of ``window``.

    Give them in log order, a symbol's own topic first: whichever brings it first is the one that its candles are made
    of. ``found`` are the records of the window; ``others`` counts records of the symbol's key that are no ticks and lie
    elsewhere in the log; ``earliest_ms`` is the first event time of all of its ticks.
    """

    def __init__(self, window: Window, rules: CandleRules) -> None:
        self.window = window
        self.found: list[Found] = []
        self.others: Counter[Verdict] = Counter()
        self.earliest_ms: int | None = None
        self._key = window.symbol.encode()
        self._rules = rules
        self._rows = Rows(rules.trading)
        self._is_heard = False
        self._engine = Engine(
            self._rows,
            rules.policy,
            close_delay_ms=rules.close_delay_ms,
            retention_ms=rules.retention_ms,
            committed=_NOTHING_COMMITTED,
        )
        # A tick that lies so far behind the window has closed it, and made expired what of it comes later: one will do.
        self._far_ms = self._far_after(window)
        self._has_far = False
        self._topics: list[str] = []
        self._since: tuple[Tick, Found] | None = None
        self._waiting: list[Found] = []

    def add(self, topic: str, partition: int, intake: Intake, in_log_ms: Mapping[int, int]) -> None:
        """Fold the next records of a log. ``in_log_ms``: by offset, when the log took those that are no ticks."""
        if topic not in self._topics:
            self._end_topic()
            self._topics.append(topic)
        self._learn_hours(intake)
        ticks = [stamped for stamped in intake.ticks if self._matters(stamped[1])]
        columns = self._chosen(intake.columns)
        epoch = self._rules.epoch
        batch = self._engine.apply(self._topics.index(topic), ticks, 0, columns, epoch).batch
        self._engine.close(0, idle=False)
        self._tell_earliest(intake)
        first = stamp(epoch, 0)
        records: dict[int, Letter | Stamped] = {
            letter.offset: letter for letter in intake.letters if letter.key == self._key
        }
        records |= {stamped[0] - first: stamped for stamped in (*ticks, *self._within(columns, first))}
        for offset in sorted(records):
            record, place = records[offset], Place(topic, partition, offset)
            if isinstance(record, Letter):
                self._take_letter(place, record, in_log_ms[offset])
            else:
                self._take_tick(record[1], Found.of(place, record, batch.verdict(record[0])))

    def end(self, now_ms: int) -> None:
        """Say that all was given; ``now_ms`` is the time: a window that is over closes."""
        self._end_topic()
        if now_ms >= self.window.bounds_ms[1] + self._rules.close_delay_ms:
            self._engine.close(1 << 62, idle=True)
        if self._since is not None:
            self.found.append(self._since[1])
        self.found.sort(key=lambda each: (self._topics.index(each.place.topic), each.place.offset))

    @property
    def candle(self) -> Candle | None:
        """The candle that has come out, None if nothing moved it."""
        row = self._row()
        return None if row is None else candle_of(self._rows, self.window.address, row)

    @property
    def volume(self) -> str | None:
        """Its exact volume as a decimal, None where it is not known."""
        row = self._row()
        return None if row is None else volume_text(self._rows, self.window.address, row)

    @property
    def baseline(self) -> Baseline | None:
        """What its volume counts from, None where that is nothing before it."""
        row = self._row()
        if row is None or row.bar is None or row.bar.cumulative is None or row.bar.trades:
            return None
        before = preceding(self._rows, self.window.address)
        return None if before is None else Baseline(before[0], before[1], before[2] & ((1 << OFFSET_BITS) - 1))

    def edges(self) -> dict[str, Found]:
        """Which record gave ``open``, ``high``, ``low`` and ``close``: the first in the log of those that could."""
        row, found = self._row(), dict[str, Found]()
        if row is not None and row.bar is not None:
            bar = row.bar
            for each in self.found:
                if each.edge is not None:
                    gives = (
                        each.edge == bar.first,
                        each.price == bar.high,
                        each.price == bar.low,
                        each.edge == bar.last,
                    )
                    for name, does in zip(("open", "high", "low", "close"), gives, strict=True):
                        if does:
                            found.setdefault(name, each)
        return found

    def _learn_hours(self, intake: Intake) -> None:
        """Cut the window by the hours of the exchange that the first tick names."""
        venues = [(tick.source, tick.exchange) for _, tick in intake.ticks if tick.kind not in CONTROLS]
        venues += [intake.columns.venues[at] for at in intake.columns.venue[:1].tolist()]
        if venues and not self._is_heard:
            self._is_heard = True
            self.window = replace(self.window, hours=self._rules.trading.hours(clock_name(*venues[0])))
            self._far_ms = self._far_after(self.window)

    def _far_after(self, window: Window) -> int:
        return window.bounds_ms[1] + self._rules.close_delay_ms + self._rules.retention_ms

    def _row(self) -> Row | None:
        return self._rows.get(self.window.address)

    def _matters(self, tick: Tick) -> bool:
        if tick.kind in CONTROLS or tick.event_time < self._far_ms:
            return tick.kind in CONTROLS or tick.event_time >= self.window.first_ms
        if self._has_far or tick.kind == "quote" or self._rules.policy.judge(tick) is not Verdict.ACCEPTED:
            return False
        self._has_far = True
        return True

    def _chosen(self, columns: Columns) -> Columns:
        """Those that matter, as `_matters` tells."""
        near = (columns.event_time >= self.window.first_ms) & (columns.event_time < self._far_ms)
        far = np.flatnonzero((columns.event_time >= self._far_ms) & (columns.kind != QUOTE))
        if len(far) and not self._has_far:
            good = far[self._rules.policy.accepts(columns.of(far))]
            near[good[:1]] = True
            self._has_far = bool(len(good))
        return columns.of(np.flatnonzero(near))

    def _within(self, columns: Columns, first: int) -> Iterable[Stamped]:
        opens, closes = self.window.bounds_ms
        for index in np.flatnonzero((columns.event_time >= opens) & (columns.event_time < closes)).tolist():
            yield first + int(columns.offset[index]), columns.tick(index)

    def _tell_earliest(self, intake: Intake) -> None:
        for event_ms in _event_times(intake):
            if event_ms > 0 and (self.earliest_ms is None or event_ms < self.earliest_ms):
                self.earliest_ms = event_ms

    def _take_tick(self, tick: Tick, found: Found) -> None:
        if self.window.holds(tick):
            self._keep(found)
        elif tick.kind == "start" and found.verdict is Verdict.ACCEPTED:
            since_ms = -1 if self._since is None else self._since[0].event_time
            if since_ms <= tick.event_time < self.window.start_ms:
                self._since = tick, found

    def _take_letter(self, place: Place, letter: Letter, in_log_ms: int) -> None:
        """What is no tick has no time: it is told where it lies among the window's records, or came in its time."""
        found = Found(place, Verdict(letter.reason), letter.error)
        opens, closes = self.window.bounds_ms
        if opens <= in_log_ms < closes:
            self._keep(found)
        elif any(each.place.topic == place.topic for each in self.found[-1:]):
            self._waiting.append(found)
        else:
            self.others[found.verdict] += 1

    def _keep(self, found: Found) -> None:
        self.found += self._waiting
        self._waiting.clear()
        self.found.append(found)

    def _end_topic(self) -> None:
        self.others.update(each.verdict for each in self._waiting)
        self._waiting.clear()


def _event_times(intake: Intake) -> Iterator[int]:
    yield from (tick.event_time for _, tick in intake.ticks if tick.kind not in CONTROLS)
    if len(intake.columns):
        yield int(intake.columns.event_time.min())
