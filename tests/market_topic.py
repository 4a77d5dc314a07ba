"""A producer with a topic of its own, and what came to lie in it."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.codecs import Encoder, Registry, TickDecoder
from stockstream.models import TICK_SCHEMA_V2, Tick

PARTITIONS = 4


class MarketTopic:
    """Open from its creation to the end of the block."""

    def __init__(self, kafka: Any, registry: Any, now_ms: Callable[[], int], name: str | None = None) -> None:
        self.kafka, self.registry, self.now_ms = kafka, registry, now_ms
        self.name = name or f"market-{uuid.uuid4().hex[:8]}"
        self.producer: TickProducer

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.kafka.topics.create, self.name, PARTITIONS)
        registry = Registry(self.registry.url)
        encoder = Encoder(TICK_SCHEMA_V2, await registry.ensure(f"{self.name}-value", TICK_SCHEMA_V2))
        await registry.close()
        self.producer = TickProducer(Connection(self.kafka.bootstrap), self.name, encoder, now_ms=self.now_ms)
        await self.producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.producer.close(1)

    async def finish(self) -> list[Tick]:
        """Write what was taken; all that lies in the topic, by partition and offset."""
        assert await self.producer.close(30) == 0
        return await self.read()

    async def read(self) -> list[Tick]:
        records = await asyncio.to_thread(self.kafka.topics.read, self.name)
        registry = Registry(self.registry.url)
        decoder = TickDecoder(registry)
        await decoder.prepare([record.value for record in records])
        await registry.close()
        return [decoder.decode(record.key, record.value) for record in records]


def controls(ticks: Sequence[Tick]) -> dict[str, list[tuple[str, str | None]]]:
    """(kind, cause) of each symbol's control records, in the topic's order; a hole has an end."""
    found: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for tick in ticks:
        if tick.kind in ("start", "gap"):
            assert tick.kind == "start" or (tick.until is not None and tick.event_time <= tick.until)
            found[tick.symbol].append((tick.kind, tick.cause))
    return found
