"""The candle engine: ticks are reduced to partial candles, one a symbol and minute, which merge into rows.

It does no I/O and reads no clock. One engine serves one partition, whose log it is given in order; the same log gives
the same candles however it is cut into batches and however often parts of it are given again. That rests on each row
being by itself an idempotent function of the ticks it was given: it remembers the last one (`Row.stamp`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stockstream.core.controls import freeze_baseline, mark, new_row
from stockstream.core.interval import INTERVALS_MS, REGULAR, session_bounds, window_start
from stockstream.core.partial import Partial, fold
from stockstream.core.publish import candle_of
from stockstream.core.row import Row
from stockstream.core.rows import Address, Key, Rows
from stockstream.core.verdict import Policy
from stockstream.core.watermark import Clocks
from stockstream.models import Candle, Tick, Verdict

LEDGER = "1m"
"""The interval whose rows decide what is a duplicate, for all intervals."""

Stamped = tuple[int, Tick]
"""A tick and its place in the log (`stockstream.core.row.stamp`)."""

_CONTROLS = ("start", "gap")
_MOVES_PRICE = (Verdict.ACCEPTED, Verdict.DUPLICATE)
_END_OF_TIME = 1 << 62


def session_of(tick: Tick) -> str:
    """The session a tick belongs to; one for all until calendars tell them apart."""
    return REGULAR


def clock_of(tick: Tick) -> str:
    """The name of the clock that a tick moves and its candles close by."""
    return f"{tick.source}/{tick.exchange}"


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

        Rows with ticks above ``committed`` (a stamp, None: no limit) stay too: those ticks may be read again.
        """
        self.rows = rows
        self.policy = policy
        self.committed = committed
        self.clocks = Clocks(close_delay_ms)
        self._retention_ms = retention_ms

    def restore(self, rows: Iterable[tuple[Address, Row]], now_ms: int) -> None:
        """Take up the clocks and open windows of stored rows, after a start or a hand-over."""
        for at, row in rows:
            if row.bar is not None:
                self.clocks.move(row.clock, row.bar.last[0], now_ms)
            if not row.closed:
                self._await_close(at, row)

    def apply(self, topic_id: int, ticks: Sequence[Stamped], now_ms: int) -> Applied:
        """Fold the next ticks of the log, as (stamp, tick) in log order. ``now_ms``: any steady clock."""
        applied = Applied([self.policy.judge(tick) for _, tick in ticks])
        minutes, others = self._group(ticks, applied.verdicts)
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
        return applied

    def close(self, now_ms: int, idle: bool) -> list[Address]:
        """Close the windows whose time has come; returns their rows, which must be stored and published."""
        ended = []
        for at in self.clocks.due(now_ms, idle):
            row = self.rows.get(at)
            if row is not None and not row.closed:
                row.closed = True
                self.rows.put(at, row)
                ended.append(at)
        return ended

    def publish(self, touched: Iterable[Address]) -> list[Candle]:
        """The candles to publish when these rows were touched: their own, and where volume is cumulative the next."""
        found: dict[Address, Candle] = {}
        for at in touched:
            row = self.rows.get(at)
            if row is None:
                continue
            candle = candle_of(self.rows, at, row)
            if candle is not None:
                found[at] = candle
            if row.bar is None or row.bar.cumulative is not None:
                self._publish_next(at, found)
        return list(found.values())

    def _publish_next(self, at: Address, found: dict[Address, Candle]) -> None:
        interval, key, start = at
        while (later := self.rows.after((interval, key, start))) is not None:
            start = later
            if (interval, key, start) in found:
                return
            row = self.rows.get((interval, key, start))
            if row is not None and row.bar is not None:
                candle = candle_of(self.rows, (interval, key, start), row)
                if candle is not None:
                    found[interval, key, start] = candle
                return

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
            for at in mark(self.rows, topic_id, stamp, tick, key, self._retention_ms):
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
        at = (LEDGER, key, minute)
        refused = self._refusal(topic_id, at)
        if refused is not None:
            for place in places:
                applied.verdicts[place] = refused
            return
        tick = ticks[places[0]][1]
        ledger = self._open(topic_id, at, tick, opened)
        fresh = _unique(ledger, places, ticks, applied.verdicts)
        whole = fold(fresh)
        last = ticks[places[-1]][0]
        for interval in INTERVALS_MS:
            at = (interval, key, window_start(interval, minute))
            target = self._open(topic_id, at, tick, opened)
            _merge(target, whole, fresh, last)
            target.row.clock = clock_of(tick)
            applied.touched[at] = None

    def _refusal(self, topic_id: int, at: Address) -> Verdict | None:
        row = self.rows.get(at)
        if row is not None:
            return None if row.topic_id == topic_id else Verdict.FOREIGN_TOPIC
        interval, key, start = at
        newest = self.rows.before((interval, key, _END_OF_TIME))
        if newest is not None and self._retention_ms is not None and start < newest - self._retention_ms:
            return Verdict.EXPIRED
        return Verdict.FOREIGN_TOPIC if self._is_foreign(topic_id, key) else None

    def _is_foreign(self, topic_id: int, key: Key) -> bool:
        newest = self.rows.before((LEDGER, key, _END_OF_TIME))
        row = None if newest is None else self.rows.get((LEDGER, key, newest))
        return row is not None and row.topic_id != topic_id

    def _open(self, topic_id: int, at: Address, tick: Tick, opened: dict[Address, _Open]) -> _Open:
        found = opened.get(at)
        if found is None:
            row = self.rows.get(at)
            if row is None:
                row = new_row(self.rows, topic_id, at)
                self.rows.put(at, row)
                self._evict(at)
            found = opened[at] = _Open(row, row.stamp)
        return found

    def _await_close(self, at: Address, row: Row) -> None:
        if row.bar is None:
            return
        self.clocks.wait(row.clock, session_bounds(at[0], at[2])[1], at)

    def _evict(self, at: Address) -> None:
        """Forget the oldest closed rows of a symbol that has a newer one; never its newest, never what may be replayed."""
        if self._retention_ms is None:
            return
        interval, key, start = at
        while (oldest := self.rows.after((interval, key, -1))) is not None:
            old = (interval, key, oldest)
            row = self.rows.get(old)
            if row is None or session_bounds(interval, oldest)[1] > start - self._retention_ms:
                return
            forming = row.bar is not None and not row.closed
            if forming or (self.committed is not None and row.stamp > self.committed):
                return
            freeze_baseline(self.rows, old, row)
            self.rows.delete(old)


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
            duplicate = stamp in row.duplicates
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
    else:
        row.bar.merge(part)
        row.amended = row.amended or row.closed
