"""A host of the engine that keeps rows as bytes, remembers every state of them, and can be brought back torn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from columns import parted
from hypothesis import strategies as st

from stockstream.core.engine import Engine
from stockstream.core.interval import Address
from stockstream.core.publish import candle_of
from stockstream.core.row import Row, row_closed_at, row_is_closed, stamp
from stockstream.core.rows import Rows
from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick, Verdict

Stored = dict[Address, bytes]
CLOSED_BIT = 1 << 55
CandleKey = tuple[str, str, str, int]
NEVER_LATE = Policy(accepted_lateness_ms=None)


class ByteRows(Rows):
    """Rows whose objects live for one batch; only what was put is kept."""

    def __init__(self, stored: Stored, trading: Trading | None = None) -> None:
        super().__init__(trading)
        self.stored = dict(stored)
        for interval, key, start in sorted(stored):
            self.series(interval, key).starts.append(start)

    def store(self, touched: Iterable[Address]) -> None:
        for interval, key, start in touched:
            self.series(interval, key).touch(start)
        for series in self._active:
            for start, data in series.changes():
                at = (series.interval, series.key, start)
                if data is None:
                    self.stored.pop(at, None)
                else:
                    self.stored[at] = data
            if series.end_batch() and len(self.stored) % 2:
                series.let_go()
        self._active.clear()

    def _read(self, at: Address) -> Row | None:
        return Row.decode(self.stored[at])


@dataclass
class Step:
    """One batch that was stored: up to which offset, all rows afterwards, and what was sent."""

    end: int
    stored: Stored
    sent: list[Candle] = field(default_factory=list)


class Host:
    """Feeds a log to an engine in batches, as columns or one by one.

    ``sink`` keeps of each candle the greatest version, as ClickHouse does.
    """

    def __init__(
        self,
        stored: Stored | None = None,
        *,
        topic_id: int = 7,
        policy: Policy = NEVER_LATE,
        close_delay_ms: int = 0,
        retention_ms: int | None = None,
        committed: int = -1,
        sink: dict[CandleKey, Candle] | None = None,
        columnar: bool = False,
        trading: Trading | None = None,
    ) -> None:
        self.columnar = columnar
        self.rows = ByteRows(stored or {}, trading)
        self.topic_id = topic_id
        self.committed = committed
        self.sink: dict[CandleKey, Candle] = dict(sink or {})
        self.committed_sink = dict(self.sink)
        self.verdicts: dict[int, Verdict] = {}
        self.engine = Engine(
            self.rows, policy, close_delay_ms=close_delay_ms, retention_ms=retention_ms, committed=committed
        )
        self.engine.restore(list(self._to_restore()), 0, {topic_id: committed})
        self.rows.store([])
        self.steps = [Step(committed, dict(self.rows.stored))]

    def _to_restore(self) -> Iterable[tuple[Address, Row]]:
        """Open rows, each symbol's newest, and those whose closing may be unknown outside."""
        for at, data in self.rows.stored.items():
            if not row_is_closed(data) or row_closed_at(data) >= self.committed or self.rows.after(at) is None:
                yield at, Row.decode(data)

    def feed(self, batch: Sequence[tuple[int, Tick]], now_ms: int = 0) -> None:
        """Apply, store and send one batch of (stamp, tick)."""
        self.engine.committed = self.committed
        ticks, columns = parted(batch) if self.columnar else (batch, None)
        applied = self.engine.apply(self.topic_id, ticks, now_ms, columns)
        for at, _ in batch:
            verdict = applied.batch.verdict(at)
            assert self.verdicts.setdefault(at, verdict) is verdict
        closed = self.engine.close(now_ms, idle=False)
        self._store({**applied.touched, **dict.fromkeys(closed)}, batch[-1][0], applied.whole)

    def idle(self, now_ms: int) -> None:
        """There is nothing left to read, and time passes."""
        self._store(dict.fromkeys(self.engine.close(now_ms, idle=True)), self.steps[-1].end)

    def _store(self, touched: dict[Address, None], end: int, whole: Sequence[Candle] = ()) -> None:
        sent = [*whole, *self.engine.publish(touched)]
        self.rows.store(touched)
        self.steps.append(Step(end, dict(self.rows.stored), sent))
        for candle in sent:
            take(self.sink, candle)

    def commit(self) -> None:
        """Everything up to here is on the broker: rows, candles and the offset."""
        self.committed = self.steps[-1].end
        self.committed_sink = dict(self.sink)
        self.steps = [Step(self.committed, dict(self.rows.stored))]

    def wreck(self, choose: Callable[[int], int]) -> tuple[Stored, list[Candle]]:
        """What a crash may leave: of each row any state since the commit, and any of the candles sent since.

        ``choose(n)`` picks a number below n.
        """
        addresses = sorted({at for step in self.steps for at in step.stored})
        torn: Stored = {}
        for at in addresses:
            data = self.steps[choose(len(self.steps))].stored.get(at)
            if data is not None:
                torn[at] = data
        sent = [candle for step in self.steps for candle in step.sent if choose(2)]
        return torn, sent

    def candles(self) -> dict[CandleKey, Candle]:
        """The candles of the rows that are there."""
        found = {}
        for at in list(self.rows.stored):
            row = self.rows.get(at)
            candle = None if row is None else candle_of(self.rows, at, row)
            if candle is not None:
                found[candle.key] = candle
        self.rows.store([])
        return found


def take(sink: dict[CandleKey, Candle], candle: Candle) -> None:
    """Keep the greatest version, as a reader does.

    Which of two of one version it gets is chance: unless they are the same, the candle is spoilt until a greater
    version puts it right.
    """
    known = sink.get(candle.key)
    if known is None or candle.version > known.version:
        sink[candle.key] = candle
    elif candle.version == known.version and _content(candle) != _content(known):
        sink[candle.key] = replace(known, close=-1.0)


def _content(candle: Candle) -> Candle:
    return replace(candle, state="closed", vwap=None)


def in_batches(log: Sequence[tuple[int, Tick]], cuts: Iterable[int]) -> list[Sequence[tuple[int, Tick]]]:
    """The log cut at these places."""
    bounds = [0, *sorted({cut for cut in cuts if 0 < cut < len(log)}), len(log)]
    return [log[low:high] for low, high in pairwise(bounds) if low < high]


def log_of(ticks: list[Tick]) -> list[tuple[int, Tick]]:
    return [(stamp(0, offset), tick) for offset, tick in enumerate(ticks)]


def unversioned(candle: Candle) -> Candle:
    """Without what disorder may change: how far the log had been read, and what that says of closing."""
    return replace(candle, version=0, is_closed=False, state="forming", vwap=None)


def run_through(log: list[tuple[int, Tick]], cuts: set[int], **options: Any) -> Host:
    host = Host(**options)
    for batch in in_batches(log, cuts):
        host.feed(batch)
        host.commit()
    return host


def run_with_crashes(log: list[tuple[int, Tick]], data: st.DataObject, **options: Any) -> Host:
    """Read the log to its end, as columns; now and then commit, now and then crash."""
    host = Host(**options, columnar=True)
    position = 0
    crashes = data.draw(st.integers(1, 4), label="crashes")
    while position < len(log):
        size = data.draw(st.integers(1, len(log)), label="batch")
        batch = log[position : position + size]
        host.feed(batch)
        position += len(batch)
        what = data.draw(st.sampled_from(["go on", "commit", "crash"]), label="then")
        if what == "commit":
            host.commit()
        elif what == "crash" and crashes:
            crashes -= 1
            host = restarted(host, data, **options)
            position = next((n for n, (at, _) in enumerate(log) if at > host.committed), len(log))
    if data.draw(st.booleans(), label="crash at the end"):
        host = restarted(host, data, **options)
        rest = [entry for entry in log if entry[0] > host.committed]
        if rest:
            host.feed(rest)
    return host


def restarted(host: Host, data: st.DataObject, **options: Any) -> Host:
    """A new host after a crash: rows in any states since the commit, sends since then arrived or not."""
    torn, sent = host.wreck(lambda count: data.draw(st.integers(0, count - 1)))
    sink = dict(host.committed_sink)
    for candle in sent:
        take(sink, candle)
    again = Host(torn, committed=host.committed, sink=sink, **options, columnar=host.columnar)
    again.verdicts = host.verdicts
    return again


def forming(candle: Candle) -> Candle:
    """Without what depends on when windows close."""
    return replace(candle, version=candle.version & ~CLOSED_BIT, is_closed=False, state="forming")


def assert_same(found: dict[CandleKey, Candle], expected: dict[CandleKey, Candle]) -> None:
    assert found.keys() == expected.keys()
    for key, candle in expected.items():
        assert_equal_candles(found[key], candle)


def assert_equal_candles(found: Candle, expected: Candle) -> None:
    assert replace(forming(found), vwap=None) == replace(forming(expected), vwap=None)
    if expected.vwap is not None:
        assert found.vwap is not None
        assert abs(found.vwap - expected.vwap) <= 1e-12 * expected.vwap
