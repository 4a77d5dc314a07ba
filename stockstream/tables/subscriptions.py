"""What is watched: the ``subscriptions`` topic as every worker sees it, and how it is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from stockstream.broker.follower import QUIET_FETCH_WAIT_MS, TopicFollower
from stockstream.errors import BadMessage
from stockstream.models import Subscription, check_symbol

Send = Callable[[bytes, bytes | None], Awaitable[None]]
"""(symbol, encoded subscription or None) → returns when Kafka has it; raises `BrokerUnreachable`."""


class Subscriptions:
    """The symbols watched now, kept current by a follower of the compacted topic; any worker may change them.

    ``changed`` is set whenever something was read.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        *,
        encode: Callable[[Subscription], bytes],
        decode: Callable[[bytes | None], Subscription],
        prepare: Callable[[Sequence[bytes]], Awaitable[None]],
        send: Send,
        now_ms: Callable[[], int],
    ) -> None:
        self.follower = TopicFollower(
            connection,
            {topic: None},
            take=self._take,
            now_ms=now_ms,
            prepare=prepare,
            fetch_wait_ms=QUIET_FETCH_WAIT_MS,
        )
        self.changed = asyncio.Event()
        self._encode = encode
        self._decode = decode
        self._send = send
        self._now_ms = now_ms
        self._watched: dict[str, Subscription] = {}

    @property
    def watched(self) -> Mapping[str, Subscription]:
        """Every subscription by its symbol."""
        return self._watched

    async def add(self, symbols: Iterable[str], source: str, added_by: str) -> list[Subscription]:
        """Watch symbols; those that are watched stay as they are. Returns when Kafka has all of it."""
        added = []
        for symbol in dict.fromkeys(symbols):
            subscription = self._watched.get(check_symbol(symbol))
            if subscription is None or subscription.source != source:
                subscription = Subscription(symbol, source, added_by, self._now_ms())
                await self._send(symbol.encode(), self._encode(subscription))
            added.append(subscription)
        return added

    async def remove(self, symbol: str) -> bool:
        """Watch a symbol no longer; False if it was not watched."""
        known = check_symbol(symbol) in self._watched
        if known:
            await self._send(symbol.encode(), None)
        return known

    def _take(self, record: ConsumerRecord) -> None:
        if record.key is None:
            raise BadMessage("a subscription's record has no key")
        symbol = record.key.decode(errors="replace")
        if record.value is None:
            self._watched.pop(symbol, None)
        else:
            self._watched[symbol] = self._decode(record.value)
        self.changed.set()
