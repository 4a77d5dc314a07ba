"""The candle engine: ticks are reduced to partial candles, one a symbol and minute, which merge into rows.

It does no I/O and reads no clock. One engine serves one partition, whose log it is given in order; the same log gives
the same candles however it is cut into batches and however often parts of it are given again. That rests on each row
being by itself an idempotent function of the ticks it was given: it remembers the last one (`Row.stamp`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stockstream.core.controls import mark, new_row
from stockstream.core.interval import INTERVALS_MS, REGULAR, session_bounds, window_start
from stockstream.core.partial import Partial, fold
from stockstream.core.publish import candle_of
from stockstream.core.retention import LEDGER, Retention
from stockstream.core.row import Row, candle_version
from stockstream.core.rows import Address, Key, Rows
from stockstream.core.verdict import Policy
from stockstream.core.volume import next_counted
from stockstream.core.watermark import Clocks
from stockstream.models import Candle, Tick, Verdict

Stamped = tuple[int, Tick]
"""A tick and its place in the log (`stockstream.core.row.stamp`)."""

_CONTROLS = ("start", "gap")
_MOVES_PRICE = (Verdict.ACCEPTED, Verdict.DUPLICATE)
_END_OF_TIME = 1 << 62
_CLOCK_NAME_LENGTH = 60  # of which each is at most 4 of the 255 bytes that a row has for it


def session_of(tick: Tick) -> str:
    """The session a tick belongs to; one for all until calendars tell them apart."""
    return REGULAR


def clock_of(tick: Tick) -> str:
    """The name of the clock that a tick moves and its candles close by; short enough for a row to hold."""
    return f"{tick.source}/{tick.exchange}"[:_CLOCK_NAME_LENGTH]


@dataclass(slots=True)
class Applied:
    """What a batch did: a verdict for each tick, in their order, and the rows that it concerns."""

    verdicts: list[Verdict]
    touched: dict[Address, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A row being merged into. ``guard`` is its stamp before the batch: what it had already taken."""

    row: Row
    guard: int


class Engine:
    """Folds the ticks of one partition into rows and tells what to publish."""

    def __init__(
        self,
        rows: Rows,
        policy: Policy,
        *,
        close_delay_ms: int = 0,
        retention_ms: int | None = None,
        committed: int | None = None,
    ) -> None:
        """``retention_ms``: how long a row stays after its symbol's newest one; None keeps all.

        Rows with ticks above ``committed`` (a stamp, None: no limit) stay too: those ticks may be read again. It is
        compared with the topic of the batch at hand: set it before each `apply`.
        """
        self.rows = rows
        self.policy = policy
        self.committed = committed
        self.clocks = Clocks(close_delay_ms)
        self._retention = Retention(rows, retention_ms)
        self._reached: dict[int, int] = {}
        self._ahead: dict[int, int] = {}
        self._held: dict[Address, Row] = {}
        self._untold: list[tuple[Address, Row]] = []
        self._position: dict[int, int] = {}

    def restore(
        self, rows: Iterable[tuple[Address, Row]], now_ms: int, committed: Mapping[int, int] | None = None
    ) -> None:
        """Take up the clocks and open windows of stored rows, after a start or a hand-over.

        ``committed``: by topic id, the stamp up to which its log will not be read again, as far as it is known. Give
        ``rows`` every open row, each symbol's newest, and those whose closing may not have been published before the
        crash (`stockstream.core.row.row_closed_at` is not below ``committed``): `close` tells the closed ones again.

        Until the log has been read up to what a topic's rows have taken, none of them closes: its clock is ahead of the
        ticks that older states of other rows still miss.
        """
        for at, row in rows:
            self._reached[row.topic_id] = max(row.stamp, self._reached.get(row.topic_id, -1))
            if row.bar is not None:
                self.clocks.move(row.clock, row.bar.last[0], now_ms)
            if row.closed:
                self._untold.append((at, row))
            else:
                self._await_close(at, row)
        for topic_id, read in (committed or {}).items():
            self._position[topic_id] = read
            self._reached[topic_id] = max(read, self._reached.get(topic_id, -1))
        self._ahead = {
            topic_id: reached
            for topic_id, reached in self._reached.items()
            if reached > self._position.get(topic_id, -1)
        }

    def apply(self, topic_id: int, ticks: Sequence[Stamped], now_ms: int) -> Applied:
        """Fold the next ticks of the log, as (stamp, tick) in log order. ``now_ms``: any steady clock."""
        applied = Applied([self.policy.judge(tick) for _, tick in ticks])
        minutes, others = self._group(ticks, applied.verdicts)
        self._refuse(topic_id, minutes, ticks, applied.verdicts)
        opened: dict[Address, _Open] = {}
        for (key, minute), places in minutes.items():
            self._apply_minute(topic_id, key, minute, places, ticks, applied, opened)
        for at, target in opened.items():
            self.rows.put(at, target.row)
        # Controls come last: they raise stamps, and a stamp must not hide a tick of the same batch.
        for place in others:
            self._apply_other(topic_id, place, ticks[place], applied)
        for at in applied.touched:
            row = self.rows.get(at)
            if row is not None and not row.closed:
                self._await_close(at, row)
        for (_, tick), verdict in zip(ticks, applied.verdicts, strict=True):
            if verdict in _MOVES_PRICE and tick.kind not in _CONTROLS:
                self.clocks.move(clock_of(tick), min(tick.event_time, tick.received_ms), now_ms)
        if ticks:
            self._read_up_to(topic_id, ticks[-1][0])
        return applied

    def close(self, now_ms: int, idle: bool) -> list[Address]:
        """Close the windows whose time has come; returns their rows, which must be stored and published.

        ``idle``: there is nothing left to read.
        """
        if idle:
            self._ahead.clear()
            self._position.clear()
            self._release()
        ended = self._tell_again()
        for at in self.clocks.due(now_ms, idle):
            row = self.rows.get(at)
            if row is None or row.closed:
                continue
            if row.topic_id in self._ahead:
                self._held[at] = row
                continue
            row.closed = True
            row.closed_at = max(row.stamp, self._reached.get(row.topic_id, -1))
            self.rows.put(at, row)
            ended.append(at)
        return ended

    def _tell_again(self) -> list[Address]:
        """The restored closed rows whose closing the log has been read up to."""
        told: list[Address] = []
        untold, self._untold = self._untold, []
        for at, row in untold:
            if row.topic_id not in self._ahead or row.closed_at <= self._position.get(row.topic_id, -1):
                told.append(at)
            else:
                self._untold.append((at, row))
        return told

    def _read_up_to(self, topic_id: int, stamp: int) -> None:
        position = stamp if self.committed is None else max(stamp, self.committed)
        self._position[topic_id] = position
        self._reached[topic_id] = max(stamp, self._reached.get(topic_id, -1))
        if topic_id in self._ahead and position >= self._ahead[topic_id]:
            del self._ahead[topic_id]
            self._release()

    def _release(self) -> None:
        """Let the windows that were held back during a replay wait for their clocks again."""
        held, self._held = self._held, {}
        for at, row in held.items():
            self._await_close(at, row)

    def publish(self, touched: Iterable[Address]) -> list[Candle]:
        """The candles to publish when these rows were touched: their own, and where volume is cumulative the next.

        A candle whose version lies beyond what has been read of the log is left out: after a crash its row, or the one
        that its volume counts from, may be ahead of others. The tick of that version will touch it again.
        """
        found: dict[Address, Candle] = {}
        for at in touched:
            row = self.rows.get(at)
            if row is None:
                continue
            self._publish_row(at, row, found)
            if row.bar is not None and row.bar.cumulative is not None:
                later = next_counted(self.rows, at)
                counted = None if later is None or later in found else self.rows.get(later)
                if later is not None and counted is not None:
                    self._publish_row(later, counted, found)
        return list(found.values())

    def _publish_row(self, at: Address, row: Row, found: dict[Address, Candle]) -> None:
        candle = candle_of(self.rows, at, row)
        if candle is None:
            return
        position = self._position.get(row.topic_id)
        if position is None or candle.version <= candle_version(position, candle.is_closed):
            found[at] = candle

    def _group(
        self, ticks: Sequence[Stamped], verdicts: list[Verdict]
    ) -> tuple[dict[tuple[Key, int], list[int]], list[int]]:
        """Places of the accepted ticks by symbol and minute, and those of the records that no candle takes."""
        minutes: dict[tuple[Key, int], list[int]] = {}
        others: list[int] = []
        for place, ((_, tick), verdict) in enumerate(zip(ticks, verdicts, strict=True)):
            if verdict is not Verdict.ACCEPTED:
                continue
            if tick.kind == "trade" or tick.kind == "snapshot":
                at = ((tick.symbol, session_of(tick)), window_start(LEDGER, tick.event_time))
                places = minutes.get(at)
                if places is None:
                    minutes[at] = [place]
                else:
                    places.append(place)
            else:
                others.append(place)
        return minutes, others

    def _apply_other(self, topic_id: int, place: int, stamped: Stamped, applied: Applied) -> None:
        """Take a quote or a control record."""
        stamp, tick = stamped
        key = (tick.symbol, session_of(tick))
        if self._is_foreign(topic_id, key):
            applied.verdicts[place] = Verdict.FOREIGN_TOPIC
        elif tick.kind != "quote":
            for at in mark(self.rows, topic_id, stamp, tick, key, self._retention.oldest_ms(key, stamp)):
                applied.touched[at] = None

    def _apply_minute(
        self,
        topic_id: int,
        key: Key,
        minute: int,
        places: list[int],
        ticks: Sequence[Stamped],
        applied: Applied,
        opened: dict[Address, _Open],
    ) -> None:
        """Merge the ticks of one symbol and minute into the rows of every interval."""
        end = ticks[-1][0]
        ledger = self._open(topic_id, (LEDGER, key, minute), end, opened)
        self._forget_duplicates(ledger.row)
        fresh = _unique(ledger, places, ticks, applied.verdicts)
        whole = fold(fresh)
        last = ticks[places[-1]][0]
        for interval in INTERVALS_MS:
            at = (interval, key, window_start(interval, minute))
            target = self._open(topic_id, at, end, opened)
            # The first tick names the clock: which one comes first in a batch is chance.
            target.row.clock = target.row.clock or clock_of(ticks[places[0]][1])
            _merge(target, whole, fresh, last)
            applied.touched[at] = None

    def _refuse(
        self,
        topic_id: int,
        minutes: dict[tuple[Key, int], list[int]],
        ticks: Sequence[Stamped],
        verdicts: list[Verdict],
    ) -> None:
        """Take out of ``minutes`` the ticks that no row may take."""
        foreign = {key for key in {key for key, _ in minutes} if self._is_foreign(topic_id, key)}
        for at in [at for at in minutes if at[0] in foreign]:
            for place in minutes.pop(at):
                verdicts[place] = Verdict.FOREIGN_TOPIC
        expired = self._retention.expired(minutes, ticks)
        if not expired:
            return
        for place in expired:
            verdicts[place] = Verdict.EXPIRED
        for at, places in list(minutes.items()):
            minutes[at] = [place for place in places if place not in expired]
            if not minutes[at]:
                del minutes[at]

    def _forget_duplicates(self, row: Row) -> None:
        """Those that will never be read again need not be told from good ticks."""
        if self.committed is not None and row.duplicates and row.duplicates[0] <= self.committed:
            del row.duplicates[: bisect_right(row.duplicates, self.committed)]

    def _is_foreign(self, topic_id: int, key: Key) -> bool:
        """Whether the symbol's rows are made of another topic. Of three tables any may have lost its rows."""
        for interval in INTERVALS_MS:
            newest = self.rows.before((interval, key, _END_OF_TIME))
            row = None if newest is None else self.rows.get((interval, key, newest))
            if row is not None:
                return row.topic_id != topic_id
        return False

    def _open(self, topic_id: int, at: Address, end: int, opened: dict[Address, _Open]) -> _Open:
        """The row at ``at`` for merging into; ``end`` is the stamp of the batch's last tick."""
        found = opened.get(at)
        if found is None:
            row = self.rows.get(at)
            if row is None:
                row = new_row(self.rows, topic_id, at)
                self.rows.put(at, row)
                self._retention.evict(at, end, self.committed)
            found = opened[at] = _Open(row, row.stamp)
        return found

    def _await_close(self, at: Address, row: Row) -> None:
        if row.bar is None:
            return
        self.clocks.wait(row.clock, session_bounds(at[0], at[2])[1], at)


def _unique(ledger: _Open, places: list[int], ticks: Sequence[Stamped], verdicts: list[Verdict]) -> list[Stamped]:
    """The ticks of one minute that are no duplicates, by the ids that their 1m row has seen.

    What that row has taken already is decided by its list of duplicates, so that the other intervals, which a crash may
    have left behind, drop the same ticks when they are read again.
    """
    row, guard = ledger.row, ledger.guard
    fresh: list[Stamped] = []
    for place in places:
        stamped = ticks[place]
        stamp, tick = stamped
        if stamp <= guard:
            at = bisect_left(row.duplicates, stamp)
            duplicate = at < len(row.duplicates) and row.duplicates[at] == stamp
        else:
            duplicate = tick.kind == "trade" and tick.trade_id >= 0 and not row.ids.add(tick.trade_id)
            if duplicate:
                row.duplicates.append(stamp)
        if duplicate:
            verdicts[place] = Verdict.DUPLICATE
        else:
            fresh.append(stamped)
    return fresh


def _merge(target: _Open, whole: Partial | None, fresh: list[Stamped], last: int) -> None:
    """Merge what of ``fresh`` lies above the guard; ``whole`` is the summary of all of it."""
    row, guard = target.row, target.guard
    row.stamp = max(row.stamp, last)
    if whole is None or fresh[-1][0] <= guard:
        return
    part = whole if fresh[0][0] > guard else fold([stamped for stamped in fresh if stamped[0] > guard])
    if part is None:
        return
    if row.bar is None:
        row.bar = part.copy()
        row.first_stamp = next(stamp for stamp, _ in fresh if stamp > guard)
    elif row.closed and not row.amended:
        before = row.bar.copy()
        row.bar.merge(part)
        row.amended = row.bar != before
    else:
        row.bar.merge(part)
