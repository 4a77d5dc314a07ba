"""The candle engine: ticks are reduced to partial candles, one a symbol and minute, which merge into rows.

It does no I/O and reads no clock. One engine serves one partition, whose log it is given in order; the same log gives
the same candles however it is cut into batches and however often parts of it are given again. That rests on each row
being by itself an idempotent function of the ticks it was given: it remembers the last one (`Row.stamp`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product

from stockstream.core.batch import Batch, add_ticks
from stockstream.core.columns import Columns
from stockstream.core.controls import mark, new_row, repair
from stockstream.core.interval import INTERVALS_MS, REGULAR, SESSIONS, Address, Key
from stockstream.core.lone import LoneTrades
from stockstream.core.merge import Line, Open, forget_duplicates, merge_into, share_of
from stockstream.core.piece import Minute, Piece, Stamped, piece_of
from stockstream.core.plain_runs import Ahead, is_ahead, merge_window, new_plain_row, write_whole
from stockstream.core.publish import candle_of
from stockstream.core.reduce import add_columns
from stockstream.core.retention import Retention
from stockstream.core.row import Row, candle_version, stamp
from stockstream.core.rows import Rows, Series
from stockstream.core.runs import Run
from stockstream.core.trading import Hours, bounds_of
from stockstream.core.verdict import Policy
from stockstream.core.volume import counted_from
from stockstream.core.watermark import Clocks
from stockstream.models import Candle, Verdict


@dataclass(slots=True)
class Applied:
    """What a batch did: the rows that it concerns, and what became of its ticks.

    Of the ``touched`` rows those are given that are open and have been put: nothing else takes their place meanwhile.
    ``whole`` are the candles of windows that it has opened and closed; their rows need only be stored.
    """

    batch: Batch
    touched: dict[Address, Row | None] = field(default_factory=dict)
    whole: list[Candle] = field(default_factory=list)


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
        self._lone = LoneTrades(rows, policy, self.clocks)
        self._retention = Retention(rows, retention_ms)
        self._topics: dict[str, int] = {}
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

    def apply(
        self, topic_id: int, ticks: Sequence[Stamped], now_ms: int, columns: Columns | None = None, epoch: int = 0
    ) -> Applied:
        """Fold the next ticks of the log, as (stamp, tick) in log order. ``now_ms``: any steady clock.

        ``columns`` are ticks of other symbols in the same stretch of the log; ``epoch`` is that of their offsets.
        """
        batch = Batch()
        applied = Applied(batch)
        left = self._lone.take(topic_id, ticks, now_ms, self.committed, batch, applied.touched)
        if left or (columns is not None and len(columns)):
            self._apply_others(topic_id, left, columns, now_ms, epoch, applied)
        if batch.count:
            self._read_up_to(topic_id, batch.last)
        return applied

    def _apply_others(
        self,
        topic_id: int,
        ticks: Sequence[Stamped],
        columns: Columns | None,
        now_ms: int,
        epoch: int,
        applied: Applied,
    ) -> None:
        """Judge and reduce what was not merged by itself, then merge it."""
        batch = applied.batch
        add_ticks(batch, self.policy, self.rows.trading, ticks)
        if columns is not None and len(columns):
            add_columns(batch, self.policy, self.rows.trading, columns, stamp(epoch, 0))
        self._refuse(topic_id, batch)
        self._move_clocks(batch, now_ms)
        ahead: dict[str, list[Ahead]] = {interval: [] for interval in INTERVALS_MS}
        for run in batch.runs.values():
            self._apply_run(topic_id, run, applied, ahead)
        for of_interval in ahead.values():
            self._write_ahead(topic_id, of_interval, applied)
        lines: dict[Key, list[Line]] = {}
        for minute, piece in batch.pieces.items():
            found = lines.get(minute.key)
            if found is None:
                found = lines[minute.key] = self._lines(minute.key)
            self._apply_minute(topic_id, found, minute, piece, batch)
        for line in chain.from_iterable(lines.values()):
            self._keep(line, applied)
        # Controls come last: they raise stamps, and a stamp must not hide a tick of the same batch.
        for stamped in batch.controls:
            self._apply_control(topic_id, stamped, applied)

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

    def _read_up_to(self, topic_id: int, last: int) -> None:
        position = last if self.committed is None else max(last, self.committed)
        self._position[topic_id] = position
        self._reached[topic_id] = max(last, self._reached.get(topic_id, -1))
        if topic_id in self._ahead and position >= self._ahead[topic_id]:
            del self._ahead[topic_id]
            self._release()

    def _release(self) -> None:
        """Let the windows that were held back during a replay wait for their clocks again."""
        held, self._held = self._held, {}
        for at, row in held.items():
            self._await_close(at, row)

    def publish(self, touched: Mapping[Address, Row | None]) -> list[Candle]:
        """The candles to publish when these rows were touched: their own, and where volume is cumulative the next.

        A candle whose version lies beyond what has been read of the log is left out: after a crash its row, or the one
        that its volume counts from, may be ahead of others. The tick of that version will touch it again.
        """
        found: dict[Address, Candle] = {}
        for at, known in touched.items():
            row = known or self.rows.get(at)
            if row is None:
                continue
            self._publish_row(at, row, found)
            if row.bar is not None and row.bar.cumulative is not None:
                for later in counted_from(self.rows, at, row):
                    counted = None if later in found else self.rows.get(later)
                    if counted is not None:
                        self._publish_row(later, counted, found)
        return list(found.values())

    def _publish_row(self, at: Address, row: Row, found: dict[Address, Candle]) -> None:
        candle = candle_of(self.rows, at, row)
        if candle is None:
            return
        position = self._position.get(row.topic_id)
        if position is None or candle.version <= candle_version(position, candle.is_closed):
            found[at] = candle

    def _apply_control(self, topic_id: int, stamped: Stamped, applied: Applied) -> None:
        _, tick = stamped
        if self._is_foreign(topic_id, tick.symbol):
            applied.batch.refuse([stamped], Verdict.FOREIGN_TOPIC)
            return
        # By its name alone: whether a tick has told its exchange by now would depend on what a crash left.
        hours = self.rows.trading.guessed(tick.symbol)
        for session in SESSIONS if hours is not None else (REGULAR,):
            self._mark(topic_id, stamped, (tick.symbol, session), hours, applied)

    def _mark(self, topic_id: int, stamped: Stamped, key: Key, hours: Hours | None, applied: Applied) -> None:
        """Apply a control record to the rows of one session."""
        at_stamp, tick = stamped
        oldest_ms = self._retention.oldest_ms(key, at_stamp)
        if tick.kind == "repair":
            concerned = repair(self.rows, at_stamp, tick, key, oldest_ms, self.committed, hours)
        else:
            concerned = mark(self.rows, topic_id, at_stamp, tick, key, oldest_ms, hours)
        for at in concerned:
            applied.touched[at] = None
            row = self.rows.get(at)
            if row is not None and not row.closed:
                self._await_close(at, row)

    def _move_clocks(self, batch: Batch, now_ms: int) -> None:
        for run in batch.runs.values():
            for name, reached_ms in run.clocks().items():
                self.clocks.move(name, reached_ms, now_ms)
        for piece in (*batch.pieces.values(), *batch.quotes.values()):
            for name, reached_ms in piece.clocks:
                self.clocks.move(name, reached_ms, now_ms)

    def _lines(self, key: Key) -> list[Line]:
        return [Line(self.rows.series(interval, key)) for interval in INTERVALS_MS]

    def _apply_run(self, topic_id: int, run: Run, applied: Applied, ahead: Mapping[str, list[Ahead]]) -> None:
        """Merge the ticks of one symbol; what is left to write of a plain run is added to ``ahead``, by interval."""
        series = [self.rows.series(interval, run.key) for interval in INTERVALS_MS]
        # While the log is read again windows are held back; then nothing can be closed at once.
        if run.is_plain and topic_id not in self._ahead and is_ahead(run, series):
            for each in series:
                ahead[each.interval].append(self._merge_newest(each, run, applied))
            return
        lines = [Line(each) for each in series]
        for minute, piece in run.pieces():
            self._apply_minute(topic_id, lines, minute, piece, applied.batch)
        for line in lines:
            self._keep(line, applied)

    def _merge_newest(self, series: Series, run: Run, applied: Applied) -> Ahead:
        """Merge the window of a plain run whose row is there already, if there is one; tells of those that follow."""
        windows, newest, clock = run.windows[series.interval], series.newest, run.clock
        row = None if newest is None else series.get(newest)
        started_ms = 0 if row is None else max(row.start_ms, row.joined_ms)
        begin, end, ended_ms = 0, len(windows), self.clocks.ended_ms(clock)
        hours = self.rows.trading.hours(clock)
        if row is not None and windows.start_ms(0) == newest:
            begin = 1
            forget_duplicates(row, self.committed)
            merge_window(row, windows[0])
            row.clock = row.clock or clock
            self._put(series, newest, row, applied)
        while end > begin:
            if bounds_of(hours, (series.interval, series.key, windows.start_ms(end - 1))).ends_ms <= ended_ms:
                break
            end -= 1
        return Ahead(series, run, begin, end, started_ms)

    def _write_ahead(self, topic_id: int, ahead: Sequence[Ahead], applied: Applied) -> None:
        """Write the rows of new windows, all of one interval: those that are over as closed ones, at once."""
        last = applied.batch.last
        applied.whole += write_whole(ahead, topic_id, last, self.rows.trading)
        for each in ahead:
            windows, clock = each.run.windows[each.series.interval], each.run.clock
            for index in range(each.end, len(windows)):
                window = windows[index]
                row = new_plain_row(topic_id, window, each.started_ms, clock)
                self._put(each.series, window.start_ms, row, applied)
            if each.begin < len(windows):
                self._retention.evict(each.series, windows.last_start_ms, last, self.committed)

    def _put(self, series: Series, start: int, row: Row, applied: Applied) -> None:
        """Store a row that was merged into, and have it closed in time."""
        series.put(start, row)
        at = (series.interval, series.key, start)
        applied.touched[at] = None
        if not row.closed:
            self._await_close(at, row)

    def _apply_minute(self, topic_id: int, lines: list[Line], minute: Minute, piece: Piece, batch: Batch) -> None:
        """Merge the ticks of one symbol and minute into the rows of every interval, the ledger's first."""
        # The first tick names the clock: which one comes first in a batch is chance.
        clock = piece.clocks[0][0]
        hours = self.rows.trading.hours(clock)
        target = self._open(topic_id, lines[0], minute.start_ms, batch.last, hours)
        forget_duplicates(target.row, self.committed)
        share = share_of(target, piece, batch)
        for line in lines:
            start = line.start_of(minute)
            if start is None:
                continue
            target = line.open.get(start) or self._open(topic_id, line, start, batch.last, hours)
            target.row.clock = target.row.clock or clock
            merge_into(target, share)

    def _keep(self, line: Line, applied: Applied) -> None:
        for start, target in line.open.items():
            self._put(line.series, start, target.row, applied)

    def _refuse(self, topic_id: int, batch: Batch) -> None:
        """Take the ticks that no row may take out of the batch."""
        for key in [key for key in batch.runs if self._is_foreign(topic_id, key[0])]:
            batch.refuse(batch.runs.pop(key).stamped(), Verdict.FOREIGN_TOPIC)
        symbols = {minute.key[0] for minute in batch.pieces}
        foreign = {symbol for symbol in symbols if self._is_foreign(topic_id, symbol)}
        for at in [at for at in batch.pieces if at.key[0] in foreign]:
            batch.refuse(batch.pieces.pop(at).ticks(), Verdict.FOREIGN_TOPIC)
        for key in [key for key in batch.quotes if self._is_foreign(topic_id, key[0])]:
            batch.refuse(batch.quotes.pop(key).ticks(), Verdict.FOREIGN_TOPIC)
        self._refuse_expired(batch)

    def _refuse_expired(self, batch: Batch) -> None:
        for key in [key for key, run in batch.runs.items() if self._retention.may_expire(key, run)]:
            batch.pieces.update(batch.runs.pop(key).pieces())
        expired = self._retention.expired(batch.pieces)
        if not expired:
            return
        for at, piece in list(batch.pieces.items()):
            ticks = piece.ticks()
            kept = [stamped for stamped in ticks if stamped[0] not in expired]
            if len(kept) < len(ticks):
                batch.refuse((stamped for stamped in ticks if stamped[0] in expired), Verdict.EXPIRED)
                if kept:
                    batch.pieces[at] = piece_of(kept)
                else:
                    del batch.pieces[at]

    def _is_foreign(self, topic_id: int, symbol: str) -> bool:
        """Whether the symbol's rows are made of another topic. Of three tables any may have lost its rows."""
        known = self._topics.get(symbol)
        if known is not None:
            return known != topic_id
        for session, interval in product(SESSIONS, INTERVALS_MS):
            series = self.rows.series(interval, (symbol, session))
            row = None if series.newest is None else series.get(series.newest)
            if row is not None:
                self._topics[symbol] = row.topic_id  # for good: a symbol's newest row stays
                return row.topic_id != topic_id
        return False

    def _open(self, topic_id: int, line: Line, start: int, end: int, hours: Hours | None) -> Open:
        """The row at ``start`` for merging into; ``end`` is the stamp of the batch's last tick."""
        found = line.open.get(start)
        if found is None:
            series = line.series
            row = series.get(start)
            if row is None:
                row = new_row(series, topic_id, start, hours)
                series.put(start, row)
                self._retention.evict(series, start, end, self.committed)
            found = line.open[start] = Open(row, row.stamp)
        return found

    def _await_close(self, at: Address, row: Row) -> None:
        if row.bar is None:
            return
        self.clocks.wait(row.clock, bounds_of(self.rows.trading.hours(row.clock), at).ends_ms, at)
