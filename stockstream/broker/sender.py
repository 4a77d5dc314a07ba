"""Single records, each confirmed: for what is rare and must be known to be written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import unreachable
from stockstream.errors import BrokerUnreachable

_TIMEOUT_S = 10.0


class Sender:
    """Writes one keyed record at a time, by murmur2 over the key, and returns when all replicas have it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; raises `BrokerUnreachable`."""
        client = AIOKafkaProducer(**self._connection.aiokafka(), acks="all", enable_idempotence=True)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await client.start()
        except (KafkaError, OSError) as error:
            await client.stop()
            raise unreachable(self._connection, error) from error
        self._client = client

    def to(self, topic: str) -> Callable[[bytes, bytes | None], Awaitable[None]]:
        """A function that writes (key, value) to ``topic``; it raises `BrokerUnreachable`."""

        async def send(key: bytes, value: bytes | None) -> None:
            if self._client is None:
                raise BrokerUnreachable(f"topic {topic} takes no records: not connected yet, or no longer")
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._client.send_and_wait(topic, value, key)
            except (KafkaError, TimeoutError) as error:
                raise BrokerUnreachable(f"topic {topic} takes no records for now: {error!r}") from error

        return send

    async def close(self) -> None:
        """Leave."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()
