"""The thread in which aiokafka's consumer runs: what is fetched how, and how the group is joined and left.

It reaches into Faust 0.15.3 and aiokafka 0.14.0: see ``tests/unit/test_private_names.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping
from typing import Any

from faust.transport.consumer import ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stockstream.broker.coordination import look_again_for_coordinator, watch_membership
from stockstream.broker.lean_fetch import fetch_apart, read_lean
from stockstream.broker.lease import watch_heartbeats
from stockstream.broker.leaving import stop_and_leave
from stockstream.broker.pace import AT_ONCE, Pace
from stockstream.broker.taken import Taken

log = logging.getLogger(__name__)

ANSWER_FETCHES = 4
"""How many partitions' greatest fetches one answer of a broker may bring."""


class ClientThread(driver.AIOKafkaConsumerThread):
    """Runs the client of a `BatchConsumer`; ``taken`` is how far each source partition was read."""

    consumer: Any
    transport: Any
    _consumer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.taken = Taken()
        self._assigned: tuple[Any, set[TP]] = (None, set())
        self._left = asyncio.Event()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = ANSWER_FETCHES * self.app.conf.consumer_max_fetch_size
        look_again_for_coordinator(consumer)
        return consumer

    async def on_start(self) -> None:
        """Start the client, with what it is to do otherwise."""
        await super().on_start()
        read_lean(self._consumer, self.transport.sources.keys() | self.app.tables.changelog_topics)
        fetch_apart(self._consumer, self._pace)
        watch_heartbeats(self._consumer._coordinator, self.transport.lease)
        watch_membership(self._consumer, self._on_left)

    def _on_left(self, error: BaseException) -> None:
        log.critical("out of the group for good, ending to start again: %r", error)
        loop = self.app.loop
        loop.call_soon_threadsafe(lambda: loop.create_task(self.app.crash(error)))

    async def on_thread_stop(self) -> None:
        """Leave the group, then stop."""
        try:
            if self._consumer is not None:
                await stop_and_leave(self._consumer, self._left.set)
        finally:
            self._left.set()
            await super().on_thread_stop()

    def close(self) -> None:
        """Nothing: Faust would close the client from another thread, so that the group is never left."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """While the app stops, the group waits until all is handed over and it is left, and is not joined again."""
        if self.app.should_stop:
            await self._left.wait()
        else:
            await super().on_partitions_revoked(revoked)

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        """As in Faust, without its queue of calls, which has a worker, tasks and timers wake up for each fetch."""
        consumer = self._ensure_consumer()
        fetch = self._fetch_records(consumer, active_partitions, timeout, consumer._max_poll_records)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fetch, self.thread_loop))

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature, here and below
        max_records: int | None = None,
    ) -> Any:
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        # Measured and stamped where they were taken. A list holds one item: the `Records` of the fetch.
        sources = {tp: batch[0] for tp, batch in records.items() if tp.topic in self.transport.sources}
        fetches = self.taken.take(sources, _positions(consumer._subscription, self.transport.sources))
        return {**records, **fetches}, self.app.consumer_generation_id

    def assignment(self) -> set[TP]:
        """As in Faust, which makes all of it anew whenever it is asked: for each fetch, more than once."""
        found = self._ensure_consumer().assignment()
        if found is not self._assigned[0]:
            self._assigned = found, ensure_TPset(found)
        return set(self._assigned[1])

    def _pace(self) -> Pace:
        """Brokers may gather ticks only while there is nothing to recover: that reads its logs to their ends."""
        is_open = self.consumer.open_generation == self.app.consumer_generation_id
        return self.transport.pace if is_open else AT_ONCE

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        self.taken.seek(partitions)
        await super()._seek_wait(consumer, partitions)


def _positions(subscriptions: Any, topics: Container[str]) -> dict[TP, int]:
    """Where reading goes on in their partitions: beyond the records taken, and what followed them that is none."""
    assigned = [tp for tp in subscriptions.assigned_partitions() if tp.topic in topics]
    states = {tp: subscriptions.subscription.assignment.state_value(tp) for tp in assigned}
    return {tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position}
