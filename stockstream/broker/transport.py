"""Faust's Kafka transport, made to hand over whole fetches and to survive faults.

Everything that touches private names of Faust 0.15.3, and of aiokafka 0.14.0's consumer, is in this file and
``client_thread.py``, for tables in ``stores.py`` and ``recovery.py``, for the records of a fetch in ``lean_fetch.py``,
and for the group in ``coordination.py``, ``lease.py`` and ``leaving.py``; ``tests/unit/test_private_names.py`` fails
when one of them changes. What they add to stock Faust:

batches      one event stands for all that an answer brought of the topics that one agent reads: a list of messages, one
             a partition, whose value is a `Fetch`, its bytes unread. So what they change leaves in one request too.
gate         source records are taken only once the partition's reading has been positioned and Faust's queues have
             been cleared for the last time; what is taken earlier is lost, in stock Faust too. And only in a generation
             of the group that gave us the changelogs of the tables too.
acks         the greatest acknowledged offset is committed. Faust's own bookkeeping of gaps stalls for good after a
             first fetch of one record.
leaving      a worker that stops leaves the group at once; in the middle of a join stock Faust does not leave it at all.
lease        no byte leaves for a broker after the group may have given our partitions away (a paused process).
saving       what acknowledged ticks have changed is sent before they are committed, as late as that.
poison       once a send has failed nothing is committed again; the worker ends and is started anew.
commits      what could not be committed does not count as committed: rows may not forget yet what a tick came to.
persisted    a store's changelog offset moves only over records that this process wrote next to each other.
absorb       changelog records go from the fetch into the store in one write, the newer state of a row winning.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stockstream.broker.client_thread import ClientThread
from stockstream.broker.lease import Lease, guard_sends
from stockstream.broker.pace import Pace
from stockstream.broker.recovery import partitions_without_rows, recover_in_bulk
from stockstream.broker.stores import IsNewer, absorb
from stockstream.broker.taken import Fetch, Taken

log = logging.getLogger(__name__)

_REJOIN_AFTER_S = 1.0
_LONG_RECORDS = 500  # of one fetch: what it changes is on its way before the next one is worked on


class _Gate:
    """Answers aiokafka, in its own thread and at the moment it takes records, which partitions may be read."""

    def __init__(self, consumer: BatchConsumer) -> None:
        self._consumer = consumer

    def __contains__(self, tp: object) -> bool:
        consumer = self._consumer
        if tp not in consumer._active_partitions:
            return False
        is_source = getattr(tp, "topic", "") in consumer.transport.sources
        return not is_source or consumer.open_generation == consumer.app.consumer_generation_id


class BatchConsumer(driver.Consumer):
    """Yields one message for what an answer brought of the source topics that go together.

    Its ``value`` is a list of messages, one a partition: their value is the `Fetch`, their offset the last it covers.
    """

    transport: Any
    poisoned = False
    _is_revoked = False
    sought_generation: int | None = None
    open_generation: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sought: dict[TP, int | None] = {}
        self.committed: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ClientThread:
        return ClientThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Shut the gate: a recovery of what was assigned before may be under way still, and come to its end."""
        self._is_revoked, self.sought_generation, self.open_generation = True, None, None
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """What is positioned from here on is what has been assigned now."""
        self._is_revoked = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Position every partition at its committed offset, and remember where that is.

        If they are taken away meanwhile the gate stays shut, until those assigned next have been positioned.
        """
        generation = self.app.consumer_generation_id
        try:
            await super().perform_seek()
        except IllegalStateError as error:
            log.info("not positioned: %s", error)
            return
        if generation == self.app.consumer_generation_id and not self._is_revoked:
            self.sought_generation = generation
            self.sought = {tp: at for tp, at in self._read_offset.items() if tp.topic in self.transport.sources}
            self.committed = {tp: at for tp, at in self.sought.items() if at is not None}

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit what had been acknowledged when ``offsets`` were gathered; first what that has changed is sent."""
        await self.transport.before_commit()
        return await super()._commit_offsets(offsets, start_new_transaction)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, unless a send has failed; only what the broker has committed is done (Faust counts any try)."""
        generation = self.app.consumer_generation_id
        await asyncio.sleep(0)  # a send that has failed by now tells so first
        if self.poisoned or not await super()._commit(offsets):
            return False
        if generation == self.app.consumer_generation_id:
            self.committed.update(offsets)
        return True

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # as in Faust: anything with wait()
        if not self._get_active_partitions():  # to aiokafka an empty set would mean all
            await self.sleep(0.02)
            return {}, None
        gate: Any = _Gate(self)
        return await self._getmany(active_partitions=gate, timeout=0.2)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        """Fetch: one message for all source partitions that go together; changelog records go to the stores."""
        records, generation = await self._wait_next_records(timeout)
        if self.should_stop:
            return
        if not self.flow_active:
            try:
                await self.perform_seek()
            except Exception as error:  # as stock Faust: the assignment may have gone meanwhile
                log.warning("cannot seek while the flow is stopped: %r", error)
            return
        answers: defaultdict[int, list[Any]] = defaultdict(list)
        for tp, batch in records.items():
            if not self._still_in(generation):
                return
            if tp not in self._get_active_partitions() and tp not in self._buffered_partitions:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp.topic in self.transport.sources:
                answers[self.transport.sources[tp.topic]].append(_message(tp, batch.end - 1, batch, generation))
            elif self._is_changelog_tp(tp):
                absorb(self.app, tp, batch[0], self.transport.is_newer(tp.topic))
                self.transport.on_absorbed(tp)
            else:
                for record in batch:
                    yield tp, self._to_message(tp, record)
        for messages in answers.values():
            if not self._still_in(generation):
                return
            first = messages[0]
            # Faust drops what lies below the last offset it read; what was asked for again must pass.
            self._read_offset[first.tp] = None
            yield first.tp, _message(first.tp, first.offset, messages, generation)

    async def sleep(self, n: Any) -> None:
        """As in Faust, but that one makes a task and cancels it to sleep for no time, as it does for each fetch."""
        await (super().sleep(n) if n else asyncio.sleep(0))

    def _still_in(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.transport.sources:
            return super()._new_offset(tp)
        acked = self._acked[tp]
        if not acked:
            return None
        top = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return int(top) + 1


def _message(tp: TP, offset: int, value: Any, generation: int) -> Any:
    return ConsumerMessage(
        tp.topic, tp.partition, offset, 0.0, 0, [], None, value, None, 0, 0, tp, generation_id=generation
    )


class _Producer(driver.Producer):
    transport: Any
    _producer: Any

    async def on_start(self) -> None:
        await super().on_start()
        if self._producer is None:
            return  # stopped while it was starting
        guard_sends(self._producer._sender, self.transport.lease, self.app)


class BatchTransport(driver.Transport):
    """What `install` puts in place of Faust's transport."""

    Consumer = BatchConsumer
    Producer = _Producer
    lease: Lease
    sources: dict[str, int]
    """Each source topic, with the number of those that it goes together with."""
    pace: Pace
    is_newer: Callable[[str], IsNewer | None]
    on_absorbed: Callable[[TP], None]
    before_commit: Callable[[], Awaitable[None]]


def install(
    app: Any,
    *,
    sources: Iterable[Collection[str]],
    pace: Pace,
    is_newer: Callable[[str], IsNewer | None],
    on_absorbed: Callable[[TP], None],
    before_commit: Callable[[], Awaitable[None]],
) -> None:
    """Give ``app`` the batched transport for its ``sources``: topics, those together that one agent reads.

    ``is_newer(changelog topic)`` decides recovery where two states of a row are found (None: the later record wins);
    ``on_absorbed`` is told of partitions of tables into which somebody else's changes were read;
    ``before_commit`` has what the acknowledged messages changed handed to the producer.
    """
    transport = BatchTransport(app.conf.broker, app, loop=app.loop)
    transport.lease = Lease(app.conf.broker_session_timeout)
    transport.sources = {topic: number for number, topics in enumerate(sources) for topic in topics}
    transport.pace = pace
    transport.is_newer = is_newer
    transport.on_absorbed = on_absorbed
    transport.before_commit = before_commit
    stock_rebalance_end = app.on_rebalance_end

    def on_rebalance_end() -> None:
        stock_rebalance_end()
        missing = partitions_without_rows(app, transport.sources)
        if missing:
            log.warning("partitions came without their tables' changelogs, asking for others: %s", missing)
            app.loop.call_later(_REJOIN_AFTER_S, _rejoin, app, app.consumer_generation_id)
        else:
            app.consumer.open_generation = app.consumer.sought_generation

    app.on_rebalance_end = on_rebalance_end
    app.transport = transport
    recover_in_bulk(app)


def _rejoin(app: Any, generation: int) -> None:
    """Have the group assign anew, unless it has since ``generation``."""
    thread = app.consumer._thread
    if generation == app.consumer_generation_id and not app.should_stop:
        thread.thread_loop.call_soon_threadsafe(thread._consumer._coordinator.request_rejoin)


async def send_records(
    app: Any,
    topic: str,
    partition: int,
    records: Iterable[tuple[bytes, bytes | None]],
    on_sent: Callable[[int, int], None] | None = None,
) -> None:
    """Hand records to the producer as few record batches; ``on_sent(base offset, count)`` when the broker has one.

    Returns when the accumulator has taken them, which waits for the batch before: order holds and memory is bounded.
    A send that fails poisons the consumer and ends the app.
    """
    producer, now_ms = app.producer._producer, int(time.time() * 1000)

    async def ship(builder: Any, count: int) -> None:
        builder.close()
        future = await producer.send_batch(builder, topic, partition=partition)

        def done(sent: Any) -> None:
            error = None if sent.cancelled() else sent.exception()
            if sent.cancelled() or error is not None:
                poison(app, topic, error)
            elif on_sent is not None:
                on_sent(sent.result().offset, count)

        future.add_done_callback(done)

    builder, count = producer.create_batch(), 0
    for key, value in records:
        if builder.append(timestamp=now_ms, key=key, value=value) is None:
            await ship(builder, count)
            builder, count = producer.create_batch(), 0
            builder.append(timestamp=now_ms, key=key, value=value)
        count += 1
    if count:
        await ship(builder, count)


def poison(app: Any, topic: str, error: BaseException | None) -> None:
    """Something that must be on the broker is not: commit nothing more, and end."""
    if app.consumer.poisoned:
        return
    app.consumer.poisoned = True
    log.critical("sending to %s failed, ending to start again from the last commit: %r", topic, error)
    app.loop.create_task(app.crash(RuntimeError(f"sending to {topic} failed: {error!r}")))


async def read_again(app: Any, tp: TP, offset: int) -> None:
    """Have the partition fetched again from ``offset`` on; batches fetched before may still arrive first."""
    try:
        await app.consumer.seek_wait({tp: offset})
    except Exception as error:  # the assignment may have gone: the next one is positioned anyway
        log.warning("cannot read %s-%d again from %d: %r", tp.topic, tp.partition, offset, error)


async def work_off(app: Any, stream: Any, work: Callable[[TP, Fetch, int], Awaitable[bool]]) -> None:
    """Have ``work`` take the fetches of a source's stream, each with its partition and generation, one after the other.

    A fetch is acknowledged where it answers True.
    """
    async for event in stream.noack().events():
        for message in event.value:
            app.monitor.stream_inbound_time[message.tp] = time.monotonic()  # else Faust takes the partition for stuck
            if await work(message.tp, message.value, message.generation_id):
                app.consumer.ack(message)
            if len(message.value.records) > _LONG_RECORDS:
                await asyncio.sleep(0)
        # What stood for all of them is not acknowledged itself, and a rebalance must not wait for it.
        app.consumer._unacked_messages.discard(event.message)


def is_ours(app: Any, tp: TP, generation: int) -> bool:
    """Whether the partition was assigned in this generation of the group and still is."""
    return generation == app.consumer_generation_id and tp in app.consumer.assignment()


def owner_url(app: Any, topic: str, key: bytes) -> str | None:
    """The base URL of the worker that owns the partition of a source topic's key; None while that is not known."""
    try:
        # Not Faust's router: it asks the producer, which knows the partitions of no topic that it does not write to.
        partition = app.consumer.key_partition(topic, key)
    except ConsumerNotStarted:
        return None
    owner: str | None = app.assignor._external_tps_url.get(TP(topic, partition))
    return owner


def sought_offset(app: Any, tp: TP) -> int | None:
    """Where reading of the partition began in this generation; None: from its beginning, wherever that is."""
    offset: int | None = app.consumer.sought.get(tp)
    return offset


def committed_offset(app: Any, tp: TP) -> int:
    """The offset up to which (exclusive) the partition's records are done for good; 0 if none is known."""
    offset: int = app.consumer.committed.get(tp, 0)
    return offset


def is_caught_up(app: Any, tp: TP, next_offset: int) -> bool:
    """Whether the partition has nothing to read at or after ``next_offset``, as far as the last fetch knew."""
    end: int | None = app.consumer.highwater(tp)
    taken: Taken = app.consumer._thread.taken
    return end is not None and taken.reached(tp, next_offset) >= end


def is_settled(app: Any) -> bool:
    """Whether the group has said which partitions are ours, maybe none, and their rows are there."""
    generation = app.consumer_generation_id
    if app.rebalancing or app.tables.recovery.in_recovery or not generation:
        return False
    return app.consumer.open_generation == generation or not app.consumer.assignment()


def active_partitions(app: Any, topics: Iterable[str]) -> list[TP]:
    """The source partitions that this worker owns, once they may be worked on; empty while they move."""
    if not is_settled(app):
        return []
    wanted = set(topics)
    return sorted(tp for tp in app.consumer.assignment() if tp.topic in wanted)
