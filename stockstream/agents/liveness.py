"""Which worker has each connection open, and until when it surely delivered: the ``connections`` topic.

Whoever takes a connection over reads there how long the one before it was alive, and so knows the hole in between.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import ConsumerRecord

from stockstream.broker.follower import QUIET_FETCH_WAIT_MS, TopicFollower
from stockstream.core.allocation import ConnectionId
from stockstream.errors import BadMessage

_GREATEST_LONG = 2**63

Send = Callable[[bytes, bytes | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Alive:
    """``worker`` had a connection open, and all that it received before ``until_ms`` (epoch ms) is in Kafka."""

    worker: str
    until_ms: int


class Liveness:
    """What every worker says of its connections."""

    def __init__(
        self, connection: Mapping[str, Any], topic: str, *, worker: str, send: Send, now_ms: Callable[[], int]
    ) -> None:
        """``worker`` is a name that no other process ever has."""
        self.follower = TopicFollower(
            connection, {topic: None}, take=self._take, now_ms=now_ms, fetch_wait_ms=QUIET_FETCH_WAIT_MS
        )
        self.worker = worker
        self._send = send
        self._known: dict[str, Alive] = {}

    def of(self, connection: ConnectionId) -> Alive | None:
        """Who had the connection last, as far as was read."""
        return self._known.get(str(connection))

    def taken_over(self, connection: ConnectionId) -> bool:
        """Whether another worker has the connection now."""
        alive = self.of(connection)
        return alive is not None and alive.worker != self.worker

    async def tell(self, connection: ConnectionId, until_ms: int) -> None:
        """Say that we have the connection, and delivered what came before ``until_ms``."""
        value = json.dumps({"worker": self.worker, "until_ms": until_ms})
        await self._send(str(connection).encode(), value.encode())

    async def forget(self, connection: ConnectionId) -> None:
        """Say that nobody has the connection, nor misses anything of it."""
        await self._send(str(connection).encode(), None)

    def _take(self, record: ConsumerRecord) -> None:
        try:
            name = record.key.decode()
            if record.value is None:
                self._known.pop(name, None)
                return
            told = json.loads(record.value)
            worker, until_ms = told["worker"], told["until_ms"]
            if not isinstance(worker, str) or type(until_ms) is not int or not 0 <= until_ms < _GREATEST_LONG:
                raise ValueError("a worker is text, until_ms epoch ms")
            self._known[name] = Alive(worker, until_ms)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise BadMessage(f"not a record of a connection: {error!r}") from error
