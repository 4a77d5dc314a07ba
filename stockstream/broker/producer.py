"""Ticks into a topic: whole record batches, in order for each symbol, through outages of any length.

aiokafka's own ``send`` costs some 50 µs a message. Here ticks of a few milliseconds are put into one record batch for
each partition, of which one is under way at a time: what comes meanwhile makes the next one. That keeps the order when
a batch has to be sent again. At least once: a batch whose fate nobody knows is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from stockstream.broker.connection import Connection
from stockstream.broker.holes import Holes
from stockstream.broker.latency import Latency
from stockstream.broker.topics import unreachable
from stockstream.core.backoff import full_jitter
from stockstream.errors import BrokerUnreachable, InvalidInput
from stockstream.models import Tick

log = logging.getLogger(__name__)

_BATCH_BYTES = 400_000
_REQUEST_TIMEOUT_MS = 10_000
_CONNECT_S = 9.0
_STOP_S = 3.0
_LEVEL_BITS = 0x7FFFFFFF

Record = tuple[bytes, bytes, float]
"""Key, value, and the steady time (s) at which it was accepted."""


@dataclass(slots=True, eq=False)
class _Lane:
    """One partition: what waits, in order, and what is under way with ``client``."""

    partition: int
    waiting: deque[Record] = field(default_factory=deque)
    sent: list[Record] = field(default_factory=list)
    client: Any = None


@dataclass(slots=True)
class SymbolCount:
    """How many ticks of a symbol were accepted and how many were shed."""

    key: bytes
    lane: _Lane
    accepted: int = 0
    shed: int = 0


@dataclass(slots=True)
class Counts:
    """What became of records: ``refused`` are those that the schema cannot carry, ``resent`` those sent again."""

    accepted: int = 0
    acknowledged: int = 0
    shed: int = 0
    refused: int = 0
    resent: int = 0
    batches: int = 0


class TickProducer:
    """Writes ticks to ``topic``, keyed by symbol and partitioned by murmur2 over the key.

    ``encode`` makes a record's value; it may raise `InvalidInput` for what it cannot carry, which is counted. Ticks
    are collected for ``linger_ms``. At most ``buffer_ticks`` (and one call more a caller) wait for Kafka. While
    the buffer is full `send` waits, and when it has been full for ``shed_after_s`` ticks are shed, counted, and
    remembered as a hole, which is told by a ``gap`` record of cause ``shed`` as soon as there is room.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        encode: Callable[[Tick], bytes],
        *,
        now_ms: Callable[[], int],
        linger_ms: float = 4.0,
        compression: str | None = None,
        buffer_ticks: int = 50_000,
        shed_after_s: float = 30.0,
        make_client: Callable[..., Any] = AIOKafkaProducer,
    ) -> None:
        self.topic = topic
        self.counts = Counts()
        self.latency = Latency()
        self.symbols: dict[str, SymbolCount] = {}
        self.buffered = 0
        self._connection, self._encode, self._now_ms = connection, encode, now_ms
        self._linger_s, self._compression = linger_ms / 1000, compression
        self._most, self._shed_after_s = buffer_ticks, shed_after_s
        self._make_client = make_client
        self._client: Any = None
        self._lanes: list[_Lane] = []
        self._holes = Holes(now_ms)
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._full_since_s: float | None = None
        self._is_patient = True
        self._is_scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: str | None = None

    async def start(self) -> None:
        """Connect; the topic must exist. Raises `BrokerUnreachable`."""
        try:
            client = await asyncio.wait_for(self._connect(), _CONNECT_S)
            partitions = await asyncio.wait_for(client.partitions_for(self.topic), _CONNECT_S)
        except (KafkaError, OSError) as error:
            raise unreachable(self._connection, error) from error
        self._client = client
        self._lanes = [_Lane(partition) for partition in sorted(partitions)]
        self._empty.set()
        self._room.set()

    @property
    def trouble(self) -> str | None:
        """What keeps records from being written just now, in words; None if nothing does."""
        if self._failure is not None:
            return self._failure
        return None if self._full_since_s is None else "Kafka takes records slower than they come, or not at all"

    async def send(self, ticks: Sequence[Tick]) -> None:
        """Take ticks, in order; returns when they are in the buffer or shed. Never raises for Kafka's sake."""
        if self.buffered >= self._most and self._is_patient and not await self._wait_for_room():
            self._shed(ticks)
            return
        self._accept(ticks)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was taken is acknowledged; False if that takes longer than ``timeout_s``."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def stop_waiting(self) -> None:
        """From now on `send` takes everything at once, whatever the bound: nothing more than the last will come."""
        self._is_patient = False
        self._room.set()

    async def close(self, timeout_s: float = 10.0) -> int:
        """Flush, and leave; returns how many records are not acknowledged by then."""
        self.stop_waiting()
        if not await self.flush(timeout_s):
            log.error("%d records for topic %s were not acknowledged within %g s", self.buffered, self.topic, timeout_s)
        if self._holes:
            log.error("the holes of %d symbols could not be written as gap records", len(self._holes))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await _leave(client)
        return self.buffered

    async def _wait_for_room(self) -> bool:
        while self._full_since_s is not None and self._is_patient:
            left_s = self._full_since_s + self._shed_after_s - time.monotonic()
            if left_s <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), left_s)
        return True

    def _shed(self, ticks: Sequence[Tick]) -> None:
        if not self._holes:
            log.error("topic %s has taken nothing for %g s: shedding ticks", self.topic, self._shed_after_s)
        for tick in ticks:
            self.counts.shed += 1
            self._count_of(tick.symbol).shed += 1
            self._holes.add(tick)

    def _accept(self, ticks: Iterable[Tick]) -> None:
        now_s, taken = time.monotonic(), 0
        for tick in ticks:
            count = self.symbols.get(tick.symbol) or self._count_of(tick.symbol)
            try:
                value = self._encode(tick)
            except InvalidInput as error:
                if not self.counts.refused:
                    log.warning("not written: %s", error)
                self.counts.refused += 1
                continue
            count.accepted += 1
            count.lane.waiting.append((count.key, value, now_s))
            taken += 1
        if not taken:
            return
        self.counts.accepted += taken
        self.buffered += taken
        self._empty.clear()
        if self.buffered >= self._most and self._full_since_s is None:
            self._full_since_s = now_s
            self._room.clear()
        self._schedule(self._linger_s)

    def _count_of(self, symbol: str) -> SymbolCount:
        count = self.symbols.get(symbol)
        if count is None:
            key = symbol.encode()
            lane = self._lanes[(murmur2(key) & _LEVEL_BITS) % len(self._lanes)]
            count = self.symbols[symbol] = SymbolCount(key, lane)
        return count

    def _schedule(self, delay_s: float) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(delay_s, self._ship)

    def _ship(self) -> None:
        self._is_scheduled = False
        client = self._client
        if client is None:
            return
        batches = []
        for lane in self._lanes:
            if lane.waiting and not lane.sent:
                batches.append((lane, self._batch(client, lane)))
        if batches:
            self._spawn(self._submit(client, batches))

    def _batch(self, client: Any, lane: _Lane) -> Any:
        """A batch of as much as fits of what waits; the lane remembers it as sent."""
        batch, waiting, now_ms = client.create_batch(), lane.waiting, int(time.time() * 1000)
        while waiting:
            key, value, _ = waiting[0]
            if batch.append(timestamp=now_ms, key=key, value=value) is None:
                break
            lane.sent.append(waiting.popleft())
        lane.client = client
        batch.close()
        return batch

    async def _submit(self, client: Any, batches: Sequence[tuple[_Lane, Any]]) -> None:
        for lane, batch in batches:
            if client is not self._client:
                return
            try:
                future = await client.send_batch(batch, self.topic, partition=lane.partition)
            except Exception as error:  # its assertions too: whatever it is, a new client begins from clean state
                self._give_up(client, error)
            else:
                future.add_done_callback(lambda sent, lane=lane: self._settle(client, lane, sent))

    def _settle(self, client: Any, lane: _Lane, sent: Any) -> None:
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or error is not None:
            self._give_up(client, error)
            return
        if lane.client is not client:
            return  # too late: its records are being sent again
        now_s, records = time.monotonic(), lane.sent
        lane.sent = []
        for _, _, accepted_s in records:
            self.latency.add(now_s - accepted_s)
        self.counts.acknowledged += len(records)
        self.counts.batches += 1
        self.buffered -= len(records)
        if self.buffered < self._most and self._full_since_s is not None:
            self._full_since_s = None
            self._room.set()
            self._tell_holes()
        if not self.buffered:
            self._empty.set()
        elif lane.waiting:
            # As few requests as the linger allows: a request costs more than the records in it.
            self._schedule(lane.waiting[0][2] + self._linger_s - now_s)

    def _tell_holes(self) -> None:
        records = self._holes.close()
        if records:
            log.warning("topic %s takes records again: %d ticks were shed", self.topic, self.counts.shed)
            self._accept(records)

    def _give_up(self, client: Any, error: BaseException | None) -> None:
        """What aiokafka retries it retries for ever; after any other failure its sequence numbers are of no use."""
        if client is not self._client:
            return
        self._client = None
        self._failure = f"sending to topic {self.topic} failed: {error!r}"
        log.error("%s; sending again with a new producer", self._failure)
        self._spawn(self._begin_anew(client))

    async def _begin_anew(self, client: Any) -> None:
        await _leave(client)
        for lane in self._lanes:
            self.counts.resent += len(lane.sent)
            lane.waiting.extendleft(reversed(lane.sent))
            lane.sent, lane.client = [], None
        for delay_s in full_jitter(0.2, 5.0, random.Random()):  # noqa: S311 - jitter is no secret
            await asyncio.sleep(delay_s)
            try:
                self._client = await asyncio.wait_for(self._connect(), _CONNECT_S)
            except (BrokerUnreachable, KafkaError, OSError) as error:
                self._failure = str(unreachable(self._connection, error))
                continue
            self._failure = None
            return self._ship()

    async def _connect(self) -> Any:
        client = self._make_client(
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            compression_type=self._compression,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            **self._connection.aiokafka(),
        )
        try:
            await client.start()
        except BaseException:
            await _leave(client)
            raise
        return client

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _leave(client: Any) -> None:
    """Stop a client in good order if its brokers answer, and let go of it if they do not."""
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait((stopping,), timeout=_STOP_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait((stopping,))
        await client.client.close()
    elif (error := stopping.exception()) is not None:
        log.info("the producer did not stop cleanly: %r", error)
