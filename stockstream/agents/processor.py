"""Takes batches of tick records to their partitions, in order and without holes, and sends on what they change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from faust.types import TP

from stockstream.agents.dead_letters import DeadLetters
from stockstream.agents.partition import Outcome, Partition
from stockstream.broker.stores import PartitionStore
from stockstream.broker.taken import Fetch
from stockstream.broker.transport import (
    active_partitions,
    committed_offset,
    is_caught_up,
    is_ours,
    read_again,
    send_records,
    sought_offset,
)
from stockstream.codecs.avro import TickDecoder
from stockstream.core.latest import published_part
from stockstream.core.rules import CandleRules
from stockstream.errors import PartitionMoved, TopicMismatch
from stockstream.models import Candle, Latest, Verdict
from stockstream.tables import Tables

log = logging.getLogger(__name__)

T = TypeVar("T")

REFETCH_TIMEOUT_S = 5.0
MOST_UNSAVED = 1000
"""So many states of a partition's rows, and those of one more fetch, wait to be stored and logged."""


@dataclass(frozen=True, slots=True)
class _Refetch:
    """Reading again was asked for from ``wanted`` on, because ``found`` had come instead."""

    generation: int
    wanted: int
    found: int
    until: float


class CandleProcessor:
    """What the candle agent runs: `process` for each batch, `close_due` now and then, for every owned partition.

    Candles and prices are sent at once. The rows behind them are stored and logged when they have become many and at
    the latest by `save`, which must come before what is acknowledged is committed.
    """

    def __init__(
        self,
        app: Any,
        tables: Tables,
        rules: CandleRules,
        *,
        topics: Sequence[str],
        candles_topic: str,
        encode_candle: Callable[[Candle], bytes],
        latest_topic: str,
        gaps_topic: str,
        encode_latest: Callable[[Latest], bytes],
        decoder: TickDecoder,
        dead_letters: DeadLetters,
        candles_sent: Callable[[int, int, Sequence[Candle]], None],
        prices_sent: Callable[[int, int, Sequence[Latest]], None],
    ) -> None:
        """``candles_sent`` is told of candles that are in Kafka: partition, offset of the first one, candles.

        And ``prices_sent`` of latest prices, unless one of them is not known without decoding it.
        """
        self._app = app
        self._tables = tables
        self._rules = rules
        self._topics = tuple(topics)
        self._candles_topic = candles_topic
        self._encode_candle = encode_candle
        self._latest_topic = latest_topic
        self._gaps_topic = gaps_topic
        self._encode_latest = encode_latest
        self._decoder = decoder
        self._dead_letters = dead_letters
        self._candles_sent = candles_sent
        self._prices_sent = prices_sent
        self._partitions: dict[int, Partition] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[TP, tuple[int, int]] = {}
        self._refetched: dict[TP, _Refetch] = {}
        self.verdicts: Counter[Verdict] = Counter()
        self.fetches: Counter[str] = Counter()
        self.lost_before_read = 0
        self.foreign_writes = 0

    async def process(self, tp: TP, fetch: Fetch, generation: int) -> bool:
        """Apply one fetch; False if it must not be acknowledged: the partition moved, or it came out of turn."""
        if not is_ours(self._app, tp, generation) or not await self._continues(tp, fetch, generation):
            return False
        records = fetch.records
        await self._decoder.prepare(records)
        async with self._locks[tp.partition]:
            at_work = await self._partition(tp.partition)
            if records.offset(0) < await self._wanted(tp, generation):
                await self._check_logs(at_work)
            if not is_ours(self._app, tp, generation):
                return False
            outcome, verdicts = at_work.apply(
                tp.topic, records, self._decoder, committed_offset(self._app, tp), _steady_ms()
            )
            self._next[tp] = generation, fetch.end
            for verdict, count in verdicts.items():
                self.verdicts[verdict] += count
            self.fetches[tp.topic] += 1
            await self._send(tp, at_work, outcome)
        return True

    async def close_due(self) -> None:
        """Close the windows of quiet symbols, in every partition that this worker owns and has read to its end."""
        sources: defaultdict[int, list[TP]] = defaultdict(list)
        for tp in active_partitions(self._app, self._topics):
            sources[tp.partition].append(tp)
        for number, tps in sources.items():
            generation = self._app.consumer_generation_id
            async with self._locks[number]:
                at_work = await self._partition(number)
                idle = all([await self._is_idle(tp, generation) for tp in tps])
                if generation != self._generation() or tps[0] not in active_partitions(self._app, self._topics):
                    return
                outcome = at_work.close(_steady_ms(), idle)
                if outcome is not None:
                    await self._save(at_work)  # there may be nothing to commit for long
                    await self._send(tps[0], at_work, outcome)

    async def save(self, spread_s: float = 0.0) -> None:
        """Store and log what has changed; the producer has it then, the broker maybe not yet.

        A partition's rows may be some milliseconds of work. With a ``spread_s`` about so much of rest lies between all
        of them, in which ticks that have come meanwhile are worked on.
        """
        changed = [(number, at_work) for number, at_work in self._partitions.items() if at_work.unsaved]
        for number, at_work in changed:
            async with self._locks[number]:
                if self._partitions.get(number) is at_work:
                    await self._save(at_work)
            if spread_s:
                await asyncio.sleep(spread_s / len(changed))

    async def settle(self) -> None:
        """Wait until everything that is being written has been handed to the broker: partitions are about to go."""
        for lock in list(self._locks.values()):
            async with lock:
                pass
        await self.save()
        await self._app.producer.flush()

    def forget(self, tp: TP) -> None:
        """Somebody else has written to the tables' partition: what is known of it must be read again."""
        self._partitions.pop(tp.partition, None)

    def keep_only(self, assigned: set[TP]) -> None:
        """The group gave us these partitions: let go of every other one's stores."""
        kept = {tp.partition for tp in assigned if tp.topic in self._topics}
        for number in self._partitions.keys() - kept:
            del self._partitions[number]

    def candles(self, interval: str, symbol: str, limit: int) -> list[Candle]:
        """The newest rows of a symbol of ours, ascending; raises `PartitionMoved` if it is not, or not yet."""
        return self._owned(symbol).candles(interval, symbol, limit)

    def latest(self, symbol: str) -> bytes | None:
        """The stored price of a symbol of ours, as it is published; raises `PartitionMoved` as `candles` does."""
        return self._owned(symbol).latest(symbol)

    def _owned(self, symbol: str) -> Partition:
        number = self._app.consumer.key_partition(self._topics[0], symbol.encode())
        owned = {tp.partition for tp in active_partitions(self._app, self._topics)}
        at_work = self._partitions.get(number) if number in owned else None
        if at_work is None:
            raise PartitionMoved(f"the partition of {symbol} is being taken over")
        return at_work

    async def _partition(self, number: int) -> Partition:
        known = self._partitions.get(number)
        if known is None:
            generation = self._generation()
            committed = {topic: committed_offset(self._app, TP(topic, number)) for topic in self._topics}
            known = Partition(number, self._tables, self._rules, self._encode_latest, committed, _steady_ms())
            await self._check_logs(known)
            if generation == self._generation():  # else its stores may be somebody else's by now
                self._partitions[number] = known
        return known

    async def _check_logs(self, at_work: Partition) -> None:
        """Refuse a topic that was created anew, or cut off: known offsets would hide its ticks.

        Kafka's client begins such a log at its start and says nothing.
        """
        tps = [TP(topic, at_work.number) for topic in self._topics]
        owned = [tp for tp in tps if tp in self._app.consumer.assignment()]
        ends = await self._app.consumer.highwaters(*owned)
        for tp in owned:
            newest, read, end = at_work.newest_offset(tp.topic), sought_offset(self._app, tp) or 0, ends.get(tp) or 0
            where = f"topic {tp.topic} partition {tp.partition} ends at offset {end}"
            epoch = f"set STOCKSTREAM_EPOCH to {self._rules.epoch + 1}"
            if newest >= end:
                raise TopicMismatch(
                    f"{where}, but candles were made of its offset {newest}: it was created anew; {epoch} to go on "
                    "with the new one"
                )
            if read > end:
                raise TopicMismatch(
                    f"{where}, but group {self._app.conf.id} has read up to {read}: it was cut off or created anew; "
                    f"{epoch} and have the group begin anew (kafka-consumer-groups.sh --group {self._app.conf.id} "
                    f"--topic {tp.topic} --reset-offsets --to-earliest --execute)"
                )

    async def _continues(self, tp: TP, fetch: Fetch, generation: int) -> bool:
        """Whether the fetch begins where the one before ended; if not, have the log read again from there.

        A row remembers only its newest offset, so a fetch left out would be left out for good. A second reading that
        finds the same hole shows that it is in the log.
        """
        first = fetch.records.offset(0)
        wanted = await self._wanted(tp, generation)
        if fetch.begin <= wanted:
            self._refetched.pop(tp, None)
            if first > wanted:
                await self._tell_of_hole(tp, wanted, first)
            return True
        asked = self._refetched.get(tp)
        if asked is not None and (asked.generation, asked.wanted) == (generation, wanted) and _steady_s() < asked.until:
            if first > asked.found:
                return False
            await self._tell_of_hole(tp, wanted, first)
            del self._refetched[tp]
            return True
        log.warning("%s-%d: got offset %d instead of %d, reading again", tp.topic, tp.partition, first, wanted)
        self._refetched[tp] = _Refetch(generation, wanted, first, _steady_s() + REFETCH_TIMEOUT_S)
        await read_again(self._app, tp, wanted)
        return False

    async def _tell_of_hole(self, tp: TP, wanted: int, first: int) -> None:
        """The log has no records in ``[wanted, first)``: it never had any there, or they were deleted unread."""
        deleted = min(first, await self._log_begins(tp)) - wanted
        if deleted > 0:
            self.lost_before_read += deleted
            log.error(
                "%s-%d: offsets %d to %d were deleted before they were read",
                tp.topic, tp.partition, wanted, wanted + deleted - 1,
            )  # fmt: skip

    async def _wanted(self, tp: TP, generation: int) -> int:
        """The offset that must come next."""
        known = self._next.get(tp)
        if known is not None and known[0] == generation:
            return known[1]
        sought = sought_offset(self._app, tp)
        return await self._log_begins(tp) if sought is None else sought

    async def _log_begins(self, tp: TP) -> int:
        return (await self._app.consumer.earliest_offsets(tp)).get(tp) or 0

    async def _is_idle(self, tp: TP, generation: int) -> bool:
        return is_caught_up(self._app, tp, await self._wanted(tp, generation))

    async def _send(self, tp: TP, at_work: Partition, outcome: Outcome) -> None:
        for key, value, offset, reason, error in outcome.letters:
            await self._dead_letters.send(key, value, tp.topic, tp.partition, offset, reason, error)
        if outcome.told:
            await send_records(self._app, self._gaps_topic, tp.partition, outcome.told)
        if at_work.unsaved >= MOST_UNSAVED:
            await self._save(at_work)
        prices = [(symbol, published_part(row)) for symbol, row in outcome.latest]
        candles = [(candle.symbol.encode(), self._encode_candle(candle)) for candle in outcome.candles]
        tell_prices = self._teller(self._prices_sent, tp.partition, outcome.prices)
        tell_candles = self._teller(self._candles_sent, tp.partition, outcome.candles)
        await send_records(self._app, self._latest_topic, tp.partition, prices, tell_prices)
        await send_records(self._app, self._candles_topic, tp.partition, candles, tell_candles)

    async def _save(self, at_work: Partition) -> None:
        saved = at_work.save()
        for interval, pairs in saved.candles.items():
            await self._log_changes(at_work.stores[interval], pairs)
        await self._log_changes(at_work.latest_store, saved.latest)

    def _teller(
        self, told: Callable[[int, int, Sequence[T]], None], partition: int, states: Sequence[T | None]
    ) -> Callable[[int, int], None]:
        """Tells of ``states`` as they arrive, in order, a batch at a time; of none after one that did not."""
        waiting = iter(states)

        def tell(base: int, count: int) -> None:
            if not self._app.consumer.poisoned:
                batch = list(islice(waiting, count))
                known = [state for state in batch if state is not None]
                if len(known) == len(batch):
                    told(partition, base, known)

        return tell

    async def _log_changes(self, store: PartitionStore, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        await send_records(
            self._app, store.changelog, store.partition, pairs, partial(self._logged, store, self._generation())
        )

    def _generation(self) -> int:
        generation: int = self._app.consumer_generation_id
        return generation

    def _logged(self, store: PartitionStore, generation: int, base: int, count: int) -> None:
        if generation != self._generation():
            return
        try:
            advanced = store.advance(base, count)
        except Exception as error:  # of the disk; nobody waits for what is called here
            self._app.loop.create_task(self._app.crash(error))
            return
        if not advanced:
            self.foreign_writes += 1
            log.debug("%s-%d: somebody else wrote before offset %d", store.changelog, store.partition, base)


def _steady_s() -> float:
    return time.monotonic()


def _steady_ms() -> int:
    return int(_steady_s() * 1000)
