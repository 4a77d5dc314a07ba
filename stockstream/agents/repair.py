"""Repairs holes from the history of their source: missing trades into the log, then the record that says so."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from heapq import nlargest
from itertools import takewhile
from typing import Protocol

from mode import Service

from stockstream.agents.ingest import Emitter
from stockstream.broker.producer import Counts
from stockstream.core.backoff import full_jitter
from stockstream.errors import BrokerUnreachable, HistoryFailed
from stockstream.models import Tick
from stockstream.models.gap import Gap
from stockstream.sources.contract import History
from stockstream.tables.gaps import GapLedger

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_AT_ONCE = 20  # holes between two looks, so that new ones need not wait for all of the old ones
_SETTLE_MS = 5000  # a venue's history may lag behind its stream
_EDGE_MS = 2000  # what was under way when a connection ended, or began, is missing too
_FLUSH_S = 30.0
_BACKOFF_BASE_S, _BACKOFF_CAP_S = 2.0, 300.0


class Prospects:
    """Which holes can be repaired, and why the others cannot."""

    def __init__(self, histories: Mapping[str, History], retention_ms: int, now_ms: Callable[[], int]) -> None:
        """``histories`` by source; ``retention_ms`` is how long ticks may come late to their candles."""
        self._depths_ms = {source: history.depth_ms for source, history in histories.items()}
        self._retention_ms = retention_ms
        self._now_ms = now_ms

    def hopeless(self, gap: Gap) -> str | None:
        """Why a hole cannot be repaired, None if it can."""
        depth_ms = self._depths_ms.get(gap.source)
        if depth_ms is None:
            return f"{gap.source} tells no trades of the past"
        age_ms = self._now_ms() - gap.from_ms
        if age_ms > depth_ms:
            return f"older than what {gap.source} tells of the past"
        if age_ms > self._retention_ms:
            return "older than retention_s: its candles are no longer open to change"
        return None


class CountingEmitter(Emitter, Protocol):
    """An emitter that says what became of what it took."""

    counts: Counts


class Repairer(Service):
    """Repairs the open holes of the symbols whose candles this worker makes: one at a time, the newest first.

    ``histories`` and ``emitters`` are by source; ``owned`` are the partitions of the tick topics that are ours, and
    ``partition_of`` tells a symbol's. The trades have the ids of the live feed, so what is there already, also from an
    attempt that was cut short, changes nothing.
    """

    def __init__(
        self,
        ledger: GapLedger,
        histories: Mapping[str, History],
        emitters: Mapping[str, CountingEmitter],
        *,
        partition_of: Callable[[bytes], int],
        owned: Callable[[], set[int]],
        now_ms: Callable[[], int],
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._histories = histories
        self._emitters = emitters
        self._partition_of = partition_of
        self._owned = owned
        self._now_ms = now_ms
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._delays: dict[tuple[str, int], Iterator[float]] = {}
        self._not_before_ms: dict[tuple[str, int], int] = {}
        self._may_begin = asyncio.Event()
        self.repaired = 0
        self.failed = 0

    def begin(self) -> None:
        """The emitters are connected."""
        self._may_begin.set()

    @Service.task
    async def _keep(self) -> None:
        await self.wait_for_stopped(self._may_begin)  # type: ignore[arg-type]  # anything with wait()
        while not self.should_stop:
            for gap in takewhile(lambda _: not self.should_stop, self.due()):
                await self.repair(gap)
            await self.sleep(_LOOK_EVERY_S)

    def due(self) -> list[Gap]:
        """The holes to repair now, some of them, the newest first."""
        if not self._ledger.follower.ready:
            return []
        owned, now_ms = self._owned(), self._now_ms()
        open_gaps = [gap for gap in self._ledger.open() if self._partition_of(gap.symbol.encode()) in owned]
        waiting = {_key(gap) for gap in open_gaps}
        for key in self._not_before_ms.keys() - waiting:
            del self._not_before_ms[key], self._delays[key]
        ready = [
            gap
            for gap in open_gaps
            if gap.source in self._histories
            and gap.until_ms + _SETTLE_MS <= now_ms
            and self._not_before_ms.get(_key(gap), 0) <= now_ms
        ]
        return nlargest(_AT_ONCE, ready, key=lambda gap: gap.until_ms)

    async def repair(self, gap: Gap) -> bool:
        """Repair a hole; False if that failed, and is to be tried again later."""
        # Also when it succeeds: the ledger learns of it only once the record has been through the log.
        delays = self._delays.setdefault(_key(gap), full_jitter(_BACKOFF_BASE_S, _BACKOFF_CAP_S, self._rng))
        self._not_before_ms[_key(gap)] = self._now_ms() + int(1000 * (_BACKOFF_BASE_S + next(delays)))
        try:
            count = await self._fill(gap)
        except Exception as error:  # the edge: a history that fails must not end the worker, nor other holes' repair
            self.failed += 1
            reason = str(error) or type(error).__name__
            unexpected = not isinstance(error, (HistoryFailed, OSError))
            log.warning(
                "%s: a hole of %d ms is not repaired yet: %s", gap.symbol, _length_ms(gap), reason, exc_info=unexpected
            )
            if reason != gap.reason:
                with suppress(BrokerUnreachable):
                    await self._ledger.failed(gap, reason)
            return False
        self.repaired += 1
        log.info("%s: a hole of %d ms is repaired with %d trades", gap.symbol, _length_ms(gap), count)
        return True

    async def _fill(self, gap: Gap) -> int:
        """Write the trades of the hole, then that it is whole; how many there were."""
        emitter, history = self._emitters[gap.source], self._histories[gap.source]
        before = _lost(emitter)
        count = 0
        async for trades in history.trades(gap.symbol, gap.from_ms - _EDGE_MS, gap.until_ms + _EDGE_MS):
            await emitter.send(trades)
            count += len(trades)
            await asyncio.sleep(0)
        if not await emitter.flush(_FLUSH_S) or _lost(emitter) != before:
            raise HistoryFailed("Kafka did not take its trades: done again later")
        done = Tick(
            gap.symbol, gap.from_ms, kind="repair", producer_timestamp=self._now_ms(), source=gap.source,
            until=gap.until_ms, cause=f"{count} trades from the history of {gap.source}",
        )  # fmt: skip
        await emitter.send([done])
        return count


def _lost(emitter: CountingEmitter) -> int:
    return emitter.counts.shed + emitter.counts.refused


def _key(gap: Gap) -> tuple[str, int]:
    return gap.symbol, gap.place


def _length_ms(gap: Gap) -> int:
    return gap.until_ms - gap.from_ms
