"""Records that no candle takes, kept with the reason: nothing is dropped silently."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from aiokafka.errors import KafkaError

from stockstream.broker.transport import poison
from stockstream.errors import BrokerUnreachable

log = logging.getLogger(__name__)


class DeadLetters:
    """Sends original bytes to the ``dead-letters`` topic; where they came from and why is in the record's headers.

    Headers, all UTF-8: ``topic``, ``partition``, ``offset``, ``reason`` (one of `models.verdict.LETTERED`, or that the
    sink refused it), ``error``. ``counts`` are those sent since the start, by reason; what is sent again after a
    failure counts once.
    """

    def __init__(self, app: Any, topic: str) -> None:
        self._app = app
        self._topic = topic
        self.counts: Counter[str] = Counter()

    async def send(
        self, key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> None:
        """Hand one record to the producer; nothing is committed past it unless the broker takes it."""
        future = await self._produce(key, value, topic, partition, offset, reason, error)
        self.counts[reason] += 1
        future.add_done_callback(self._sent)

    async def deliver(
        self, key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> None:
        """Return when the broker has the record; raises `BrokerUnreachable` if it does not take it for now."""
        try:
            await (await self._produce(key, value, topic, partition, offset, reason, error))
        except KafkaError as failure:
            raise BrokerUnreachable(f"{self._topic} does not take records for now: {failure!r}") from failure
        self.counts[reason] += 1

    async def _produce(
        self, key: bytes | None, value: bytes | None, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> Any:
        log.warning("to %s: %s-%d offset %d, %s: %s", self._topic, topic, partition, offset, reason, error)
        headers = {
            "topic": topic.encode(),
            "partition": str(partition).encode(),
            "offset": str(offset).encode(),
            "reason": reason.encode(),
            "error": error.encode(),
        }
        producer = await self._app.maybe_start_producer()
        return await producer.send(self._topic, key, value, None, None, headers)

    def _sent(self, future: Any) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            poison(self._app, self._topic, error)
