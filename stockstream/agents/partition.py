"""One partition at work: its engine over its stores, and what a batch of records makes of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stockstream.agents.intake import Intake, Letter, letters_of, take_in
from stockstream.broker.stores import PartitionStore
from stockstream.codecs.avro import TickDecoder
from stockstream.core.batch import Batch
from stockstream.core.columns import Columns
from stockstream.core.engine import Engine
from stockstream.core.interval import INTERVALS_MS, SESSIONS, Address
from stockstream.core.latest import Rank, encode_row, is_later, latest_of, newest_of, published_part, rank_of
from stockstream.core.piece import Stamped
from stockstream.core.publish import candle_of
from stockstream.core.row import Row, stamp
from stockstream.core.rules import CandleRules
from stockstream.models import Candle, Latest, Tick, Verdict
from stockstream.models.records import Records
from stockstream.models.tick import CONTROLS
from stockstream.tables import Tables
from stockstream.tables.gaps import encode_control
from stockstream.tables.rows import Changes, StoreRows

Ranked = tuple[Rank, int, Tick]
"""A tick, its place in the log, and what orders it among those of its symbol."""


@dataclass(slots=True)
class Outcome:
    """What a step made that is to be published. The rows that it changed are left for `Partition.save`."""

    candles: list[Candle]
    latest: list[tuple[bytes, bytes]]
    """Symbols and rows of the latest table."""
    prices: list[Latest | None]
    """What each of these rows says; None where it was written before and would have to be decoded."""
    letters: list[Letter]
    told: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What the ledger of gaps is told."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What has just been stored, still to be logged: candle rows, and symbols and rows of the latest table."""

    candles: Changes
    latest: list[tuple[bytes, bytes]]


def topic_id(topic: str) -> int:
    """The number that a row remembers its topic by."""
    return zlib.crc32(topic.encode())


class Partition:
    """Folds the records of one partition number, of every tick topic, into its stores.

    What steps change is held until `save`, so that a row that many of them touch is stored and logged once. Nothing
    here awaits: between the check that the partition is ours and what is made of its records nothing else runs.
    """

    def __init__(
        self,
        number: int,
        tables: Tables,
        rules: CandleRules,
        encode_latest: Callable[[Latest], bytes],
        committed: Mapping[str, int],
        now_ms: int,
    ) -> None:
        """Opens the stores and reads which rows there are.

        ``committed`` are the offsets by topic at which reading goes on; ``now_ms`` is the steady clock of all calls.
        """
        self.number = number
        self._rules = rules
        self._encode_latest = encode_latest
        self.stores = {interval: PartitionStore(tables.candles[interval].table, number) for interval in INTERVALS_MS}
        self.latest_store = PartitionStore(tables.latest, number)
        self._rows = StoreRows(self.stores, rules.trading)
        self._latest: dict[str, bytes] = {}
        self._touched: dict[Address, None] = {}
        self._moved: dict[bytes, bytes] = {}
        self.unsaved = 0
        """How many states of candles and prices the stores have not seen."""
        self._engine = Engine(
            self._rows, rules.policy, close_delay_ms=rules.close_delay_ms, retention_ms=rules.retention_ms
        )
        read_next = {topic_id(topic): stamp(rules.epoch, offset) for topic, offset in committed.items()}
        rows = self._rows.load(lambda topic: read_next.get(topic, 0))
        self._engine.restore(rows, now_ms, {topic: place - 1 for topic, place in read_next.items()})

    def newest_offset(self, topic: str) -> int:
        """The greatest offset of ``topic`` in this epoch that any row has taken; -1 for none."""
        place = self._rows.places.get(topic_id(topic), -1)
        first = stamp(self._rules.epoch, 0)
        return place - first if place >= first else -1

    def apply(
        self, topic: str, records: Records, decoder: TickDecoder, committed: int, now_ms: int
    ) -> tuple[Outcome, dict[Verdict, int]]:
        """Fold records, in the order of their log. Those below the offset ``committed`` will never be read again."""
        epoch = self._rules.epoch
        intake = take_in(records, decoder, epoch)
        self._engine.committed = stamp(epoch, committed) - 1
        applied = self._engine.apply(topic_id(topic), intake.ticks, now_ms, intake.columns, epoch)
        letters = intake.letters + letters_of(applied.batch, records, decoder, epoch)
        touched = {**applied.touched, **dict.fromkeys(self._engine.close(now_ms, idle=False))}
        outcome = self._outcome(touched, self._move_latest(intake, applied.batch), letters, applied.whole)
        outcome.told = [
            encode_control(at, tick)
            for at, tick in applied.batch.controls
            if tick.kind != "start" and at not in applied.batch.refused
        ]
        return outcome, applied.batch.verdicts()

    def close(self, now_ms: int, idle: bool) -> Outcome | None:
        """Close what time has ended; ``idle``: there is nothing left to read. None if nothing has."""
        ended = self._engine.close(now_ms, idle)
        return self._outcome(dict.fromkeys(ended), [], [], []) if ended else None

    def save(self) -> Saved:
        """Store all that has changed since the last time, the touched rows again."""
        changes = self._rows.take(self._touched)
        for interval, pairs in changes.items():
            if pairs:
                self.stores[interval].write(pairs)
        latest = list(self._moved.items())
        if latest:
            self.latest_store.write(latest)
        self._touched, self._moved, self.unsaved = {}, {}, 0
        return Saved(changes, latest)

    def candles(self, interval: str, symbol: str, limit: int) -> list[Candle]:
        """The newest rows of a symbol as candles, each session's ascending."""
        found = []
        for session in SESSIONS:
            for at, row in self._rows.newest(interval, (symbol, session), limit):
                candle = candle_of(self._rows, at, row)
                if candle is not None:
                    found.append(candle)
        if not self.unsaved:
            self._rows.take([])
        return found

    def latest(self, symbol: str) -> bytes | None:
        """The price of a symbol, as it is published."""
        row = self._latest.get(symbol) or self.latest_store.get(symbol.encode())
        return None if row is None else published_part(row)

    def _move_latest(self, intake: Intake, batch: Batch) -> list[tuple[bytes, bytes, Latest | None]]:
        """Take the newest prices; those of skipped records are sent again, for a crash may have come in between."""
        newest: dict[str, Ranked] = {}
        for at, tick in intake.ticks:
            if at not in batch.refused and tick.kind not in CONTROLS:
                arriving = rank_of(tick)
                known = newest.get(tick.symbol)
                if known is None or arriving > known[0]:
                    newest[tick.symbol] = arriving, at, tick
        found = list(newest.values())
        if len(intake.columns):
            found += [(rank_of(tick), at, tick) for at, tick in self._newest_of(intake.columns, batch)]
        return [self._move_price(*each) for each in found]

    def _newest_of(self, columns: Columns, batch: Batch) -> list[Stamped]:
        first = stamp(self._rules.epoch, 0)
        accepted = np.arange(len(columns))
        if batch.refused:
            refused = np.fromiter(batch.refused, np.int64, len(batch.refused))
            accepted = np.flatnonzero(~np.isin(columns.offset + first, refused))
        return [(first + int(columns.offset[index]), columns.tick(index)) for index in newest_of(columns, accepted)]

    def _move_price(self, rank: Rank, at: int, tick: Tick) -> tuple[bytes, bytes, Latest | None]:
        name, latest = tick.symbol.encode(), latest_of(tick, at)
        arriving = encode_row(rank, self._encode_latest(latest))
        row = self._latest.get(tick.symbol) or self.latest_store.get(name)
        if row is None or is_later(rank, row):
            row = arriving
        self._latest[tick.symbol] = row
        return name, row, latest if row == arriving else None

    def _outcome(
        self,
        touched: Mapping[Address, Row | None],
        moved: list[tuple[bytes, bytes, Latest | None]],
        letters: list[Letter],
        whole: list[Candle],
    ) -> Outcome:
        candles = whole + self._engine.publish(touched)
        latest = [(symbol, row) for symbol, row, _ in moved]
        self._touched.update({at: None for at, row in touched.items() if row is None})
        self._moved.update(latest)
        self.unsaved += len(touched) + len(whole) + len(latest)
        return Outcome(candles, latest, [price for _, _, price in moved], letters)
