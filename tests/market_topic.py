"""A producer with a topic of its own, what came to lie in it, and a runner that reads a fake venue into it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.codecs import Encoder, Registry, TickDecoder
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.sources.contract import Feed
from stockstream.sources.coverage import SUBSCRIBING
from stockstream.sources.runner import ConnectionRunner, Timing
from stockstream.testing.wait import wait_until_async

PARTITIONS = 4
QUICK = Timing(backoff_base_s=0.05, backoff_cap_s=0.4, watch_every_s=0.05, fatal_retry_s=0.3)


async def ticks_in(kafka: Any, registry: Any, topic: str) -> list[tuple[int, Tick]]:
    """What lies in a topic, each tick with its partition, by partition and offset."""
    records = await asyncio.to_thread(kafka.topics.read, topic)
    source = Registry(registry.url)
    decoder = TickDecoder(source)
    await decoder.prepare([record.value for record in records])
    await source.close()
    return [(record.partition, decoder.decode(record.key, record.value)) for record in records]


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
        return [tick for _, tick in await ticks_in(self.kafka, self.registry, self.name)]


def holes_in(ticks: Sequence[Tick]) -> list[Tick]:
    """The ``gap`` records that are no chance, as it is whether a minute begins while symbols are first subscribed."""
    return [tick for tick in ticks if tick.kind == "gap" and tick.cause != SUBSCRIBING]


def controls(ticks: Sequence[Tick]) -> dict[str, list[tuple[str, str | None]]]:
    """(kind, cause) of each symbol's starts and `holes_in` the topic, in its order; a hole has an end."""
    found: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "start" or holes_in([tick]):
            assert tick.kind == "start" or (tick.until is not None and tick.event_time <= tick.until)
            found[tick.symbol].append((tick.kind, tick.cause))
    return found


class MarketScene:
    """A fake venue and a runner that reads it into a topic; its task is cancelled at the end of the block."""

    def __init__(self, fake: Any, topic: MarketTopic) -> None:
        self.fake, self.topic = fake, topic
        self.runner: ConnectionRunner
        self.task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def start(self, feed: Feed, symbols: Sequence[str]) -> ConnectionRunner:
        producer = self.topic.producer
        self.runner = ConnectionRunner(
            feed, symbols, producer.send, now_ms=self.topic.now_ms, offer=producer.offer, timing=QUICK
        )
        self.task = asyncio.create_task(self.runner.run())
        return self.runner

    def is_served(self) -> bool:
        """Whether the venue has taken all that was asked for."""
        raise AssertionError("each venue tells by itself")

    async def until_streaming(self, connections: int) -> None:
        await wait_until_async(
            lambda: (
                self.runner.status.state == "streaming"
                and self.runner.status.connections >= connections
                and self.is_served()
            ),
            30,
            "a connection",
        )

    async def until_sent(self, more: int) -> None:
        wanted = len(self.fake.tape.sent) + more
        await wait_until_async(lambda: len(self.fake.tape.sent) >= wanted, 30, "trades")

    async def stop(self) -> list[Tick]:
        await self.runner.stop()
        await asyncio.wait_for(self.task, 30)
        return await self.topic.finish()


async def produced(
    source: str, fake: Any, folder: Path, config: str, environment: Mapping[str, str], *options: str
) -> tuple[str, str]:
    """What `stockstream produce` printed until 300 trades were sent, with a config file, and its topics' prefix."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    (folder / "stockstream.toml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stockstream", "--debug", "produce", source, *options),
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("SYMBOLS", "KAFKA_"))},
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "STOCKSTREAM_TOPIC_PREFIX": prefix,
            "STOCKSTREAM_REPLICATION": "1",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await wait_until_async(lambda: len(fake.tape.sent) > 300, 60, "trades")
        process.send_signal(signal.SIGTERM)
        stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 143, stderr.decode()
    return (stdout + stderr).decode(), prefix
