"""Ticks into a topic: whole record batches, in order for each symbol, through outages of any length.

aiokafka's own ``send`` costs some 50 µs a message. Here what comes within a few milliseconds makes one record batch for
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
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from stockstream.broker.batch_client import BATCH_BYTES, BatchClient, Record
from stockstream.broker.connection import Connection
from stockstream.broker.holes import Holes
from stockstream.broker.latency import Latency
from stockstream.broker.link import Acks
from stockstream.broker.refusal import unreachable
from stockstream.core.backoff import full_jitter
from stockstream.errors import InvalidInput
from stockstream.models import Tick

log = logging.getLogger(__name__)

_CONNECT_S = 9.0
_STOP_S = 3.0
_SOON_S = 0.001
_LEVEL_BITS = 0x7FFFFFFF


class Client(Protocol):
    """What the producer needs of a `BatchClient`."""

    async def start(self) -> set[int]:
        """Connect; the topic's partitions."""
        ...

    def take(self, partition: int, waiting: deque[Record], now_ms: int) -> list[Record]:
        """Make a batch of what waits."""
        ...

    def send(self) -> None:
        """Send what was taken."""
        ...

    async def stop(self) -> None:
        """Leave."""
        ...


@dataclass(slots=True, eq=False)
class _Lane:
    """One partition: what waits, in order, and what is under way; how many it ever took and had acknowledged."""

    partition: int
    waiting: deque[Record] = field(default_factory=deque)
    sent: list[Record] = field(default_factory=list)
    accepted: int = 0
    acknowledged: int = 0


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
    leave at once, but not sooner than ``linger_ms`` after those before them, in batches of at most ``batch_bytes``
    before compression. At most ``buffer_ticks`` (and one call more a caller) wait for Kafka. While the buffer is full
    `send` waits, and when it has been full for ``shed_after_s`` ticks are shed, counted, and remembered as a hole,
    which is told by a ``gap`` record of cause ``shed`` as soon as there is room.

    Batches count as written as ``acks`` says. With less than ``all`` that is no promise: what was written may be lost,
    and no gap record tells. With each ``log_every_ticks`` that are taken (0: never) a line is logged.
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
        batch_bytes: int = BATCH_BYTES,
        acks: Acks = "all",
        log_every_ticks: int = 0,
        buffer_ticks: int = 50_000,
        shed_after_s: float = 30.0,
        make_client: Callable[..., Client] = BatchClient,
    ) -> None:
        self.topic = topic
        self.counts = Counts()
        self.latency = Latency()
        self.symbols: dict[str, SymbolCount] = {}
        self.buffered = 0
        self._connection, self._encode, self._now_ms = connection, encode, now_ms
        self._linger_s = linger_ms / 1000
        self._acks = acks
        self._options: dict[str, Any] = {"compression": compression, "batch_bytes": batch_bytes, "acks": acks}
        self._log_every, self._log_at = log_every_ticks, log_every_ticks
        self._most, self._shed_after_s = buffer_ticks, shed_after_s
        self._make_client = make_client
        self._client: Client | None = None
        self._lanes: dict[int, _Lane] = {}
        self._holes = Holes(now_ms)
        self._room = asyncio.Event()
        self._flushing: list[asyncio.Future[None]] = []
        self._shipped_s = 0.0
        self._full_since_s: float | None = None
        self._is_patient = True
        self._is_scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: str | None = None

    async def start(self) -> None:
        """Connect; the topic must exist. Raises `BrokerUnreachable`."""
        if self._acks != "all":
            log.warning(
                "topic %s is written with producer_acks=%s: ticks may be lost %s, and nothing tells of it",
                self.topic,
                self._acks,
                "whenever a connection or a broker is" if self._acks == "0" else "with the broker that has them",
            )
        try:
            self._client, partitions = await self._connect()
        except (KafkaError, OSError) as error:
            raise unreachable(self._connection, error) from error
        self._lanes = {partition: _Lane(partition) for partition in sorted(partitions)}
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

    def offer(self, ticks: Sequence[Tick]) -> bool:
        """Take ticks as `send` does, unless that would have to wait: then none, and False."""
        if self.buffered >= self._most and self._is_patient:
            return False
        if ticks:
            self._accept(ticks)
        return True

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was taken before is acknowledged, and all that was shed before told of.

        False if that takes longer than ``timeout_s``. What is taken meanwhile does not matter.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._holes:
                    await self._progress()
                wanted = [(lane, lane.accepted) for lane in self._lanes.values()]
                while any(lane.acknowledged < count for lane, count in wanted):
                    await self._progress()
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

    async def _progress(self) -> None:
        """Wait for an acknowledgement."""
        future = asyncio.get_running_loop().create_future()
        self._flushing.append(future)
        await future

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
        now_s, taken, symbols, encode = time.monotonic(), 0, self.symbols, self._encode
        for tick in ticks:
            count = symbols.get(tick.symbol) or self._count_of(tick.symbol)
            try:
                value = encode(tick)
            except InvalidInput as error:
                if not self.counts.refused:
                    log.warning("not written: %s", error)
                self.counts.refused += 1
                continue
            count.accepted += 1
            lane = count.lane
            lane.accepted += 1
            lane.waiting.append((count.key, value, now_s))
            taken += 1
        if not taken:
            return
        self.counts.accepted += taken
        self.buffered += taken
        if self._log_every and self.counts.accepted >= self._log_at:
            self._log_at = self.counts.accepted - self.counts.accepted % self._log_every + self._log_every
            log.info("%s: %d ticks taken, %d written", self.topic, self.counts.accepted, self.counts.acknowledged)
        if self.buffered >= self._most and self._full_since_s is None:
            self._full_since_s = now_s
            self._room.clear()
        self._schedule(now_s)

    def _count_of(self, symbol: str) -> SymbolCount:
        count = self.symbols.get(symbol)
        if count is None:
            key = symbol.encode()
            partition = sorted(self._lanes)[(murmur2(key) & _LEVEL_BITS) % len(self._lanes)]
            count = self.symbols[symbol] = SymbolCount(key, self._lanes[partition])
        return count

    def _schedule(self, now_s: float) -> None:
        """As few requests as the linger allows: a request costs more than the records in it."""
        if self._is_scheduled:
            return
        self._is_scheduled = True
        wait_s = self._shipped_s + self._linger_s - now_s
        if wait_s < _SOON_S:
            asyncio.get_running_loop().call_soon(self._ship)
        else:
            asyncio.get_running_loop().call_later(wait_s, self._ship)

    def _ship(self) -> None:
        self._is_scheduled = False
        client = self._client
        if client is None:
            return
        now_ms, has_some = time.time_ns() // 1_000_000, False
        for lane in self._lanes.values():
            if lane.waiting and not lane.sent:
                lane.sent = client.take(lane.partition, lane.waiting, now_ms)
                has_some = True
        if has_some:
            self._shipped_s = time.monotonic()
            client.send()

    def _acknowledged(self, partitions: Iterable[int]) -> None:
        now_s, done, delays = time.monotonic(), 0, dict[float, int]()
        is_more = False
        for partition in partitions:
            lane = self._lanes[partition]
            for _, _, accepted_s in lane.sent:
                delays[accepted_s] = delays.get(accepted_s, 0) + 1
            lane.acknowledged += len(lane.sent)
            done += len(lane.sent)
            lane.sent = []
            self.counts.batches += 1
            is_more = is_more or bool(lane.waiting)
        for accepted_s, count in delays.items():
            self.latency.add(now_s - accepted_s, count)
        self.counts.acknowledged += done
        self.buffered -= done
        if self.buffered < self._most and self._full_since_s is not None:
            self._full_since_s = None
            self._room.set()
            self._tell_holes()
        if is_more:
            self._schedule(now_s)
        for future in self._flushing:
            if not future.done():
                future.set_result(None)
        self._flushing.clear()

    def _tell_holes(self) -> None:
        records = self._holes.close()
        if records:
            log.warning("topic %s takes records again: %d ticks were shed", self.topic, self.counts.shed)
            self._accept(records)

    def _give_up(self, error: Exception) -> None:
        """What may be retried the client retries for ever; after any other failure its sequence numbers are no use."""
        client, self._client = self._client, None
        if client is None:
            return
        self._failure = f"sending to topic {self.topic} failed: {error!r}"
        log.error("%s; sending again with a new producer", self._failure)
        self._spawn(self._begin_anew(client))

    async def _begin_anew(self, client: Client) -> None:
        await _leave(client)
        for lane in self._lanes.values():
            self.counts.resent += len(lane.sent)
            lane.waiting.extendleft(reversed(lane.sent))
            lane.sent = []
        for delay_s in full_jitter(0.2, 5.0, random.Random()):  # noqa: S311 - jitter is no secret
            await asyncio.sleep(delay_s)
            try:
                self._client, _ = await self._connect()
            except (KafkaError, OSError) as error:
                self._failure = str(unreachable(self._connection, error))
                continue
            self._failure = None
            return self._ship()

    async def _connect(self) -> tuple[Client, set[int]]:
        """A new client, and the topic's partitions."""
        client = self._make_client(
            self._connection.aiokafka(),
            self.topic,
            **self._options,
            on_acknowledged=self._acknowledged,
            on_failed=self._give_up,
        )
        try:
            return client, await asyncio.wait_for(client.start(), _CONNECT_S)
        except BaseException:
            await _leave(client)
            raise

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _leave(client: Client) -> None:
    """Stop a client in good order if its brokers answer, and let go of it if they do not."""
    try:
        await asyncio.wait_for(client.stop(), _STOP_S)
    except Exception as error:  # it is not needed any more, whatever state it is in
        log.info("the producer did not stop cleanly: %r", error)
