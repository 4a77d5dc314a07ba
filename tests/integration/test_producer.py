"""Ticks into a cluster that goes away and comes back."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.models import Tick
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.wait import wait_until_async

PARTITIONS = 3
SYMBOLS = [f"S{n:02d}" for n in range(20)]
BUFFER = 500


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """One broker that may be killed and frozen."""
    with KafkaCluster(kafka_libs()) as cluster:
        yield cluster


def encode(tick: Tick) -> bytes:
    return f"{tick.kind} {tick.event_time} {tick.until} {tick.cause}".encode()


class Stream:
    """Numbered ticks, sent one after the other as a reader would; ``slowest_s`` is the longest a call took."""

    def __init__(self, producer: TickProducer) -> None:
        self.producer, self.sent, self.slowest_s, self.is_on = producer, 0, 0.0, True

    async def run(self) -> None:
        while self.is_on:
            ticks = [Tick(SYMBOLS[n % len(SYMBOLS)], n, 1.0) for n in range(self.sent, self.sent + 10)]
            began_s = time.monotonic()
            await self.producer.send(ticks)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            self.sent += len(ticks)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("outage", ["frozen", "killed"])
async def test_an_outage_slows_then_sheds_and_every_hole_is_told(cluster: KafkaCluster, outage: str) -> None:
    topic = f"outage-{outage}"
    await asyncio.to_thread(cluster.topics.create, topic, PARTITIONS)
    producer = TickProducer(
        Connection(cluster.bootstrap), topic, encode, now_ms=lambda: 1, buffer_ticks=BUFFER, shed_after_s=1.0
    )
    await producer.start()
    stream = Stream(producer)
    task = asyncio.create_task(stream.run())
    try:
        await wait_until_async(lambda: producer.counts.acknowledged > 500, 30, "the first ticks")
        assert producer.counts.shed == 0
        if outage == "frozen":
            cluster.pause(0)
        else:
            cluster.kill(0)
        await wait_until_async(lambda: producer.counts.shed > 500, 60, "ticks to be shed")
        assert stream.slowest_s >= 0.9
        assert producer.buffered < BUFFER + 20
        assert producer.trouble is not None
        if outage == "frozen":
            cluster.resume(0)
        else:
            await asyncio.to_thread(cluster.start, 0)
        shed = producer.counts.shed
        await wait_until_async(lambda: producer.trouble is None and producer.buffered < 50, 90, "the end of the outage")
        before = producer.counts.acknowledged
        await wait_until_async(lambda: producer.counts.acknowledged > before + 500, 30, "more ticks")
        assert producer.counts.shed >= shed
    finally:
        stream.is_on = False
        await task
        assert await producer.close(30) == 0
    assert_holes_are_told(cluster.topics.read(topic), stream.sent)
    assert producer.counts.acknowledged == producer.counts.accepted


async def test_without_acks_a_frozen_broker_still_slows_and_sheds(cluster: KafkaCluster) -> None:
    topic = "frozen-without-acks"
    await asyncio.to_thread(cluster.topics.create, topic, PARTITIONS)
    producer = TickProducer(
        Connection(cluster.bootstrap),
        topic,
        lambda tick: encode(tick).ljust(20_000),
        now_ms=lambda: 1,
        acks="0",
        buffer_ticks=BUFFER,
        shed_after_s=1.0,
    )
    await producer.start()
    stream = Stream(producer)
    task = asyncio.create_task(stream.run())
    try:
        await wait_until_async(lambda: producer.counts.acknowledged > 500, 30, "the first ticks")
        cluster.pause(0)
        try:
            await wait_until_async(lambda: producer.counts.shed > 500, 60, "ticks to be shed")
            assert producer.buffered < BUFFER + 20
        finally:
            cluster.resume(0)
        await wait_until_async(lambda: producer.trouble is None and producer.buffered < 50, 60, "the end of the outage")
        # What was on the way may be lost, untold: that is what the setting says. What comes now is written.
        written = sum(cluster.topics.end_offsets(topic).values())
        await wait_until_async(
            lambda: sum(cluster.topics.end_offsets(topic).values()) > written + 500, 60, "more ticks to be written"
        )
    finally:
        stream.is_on = False
        await task
        assert await producer.close(30) == 0
    assert any(record.value.startswith(b"gap") for record in cluster.topics.read(topic) if record.value)


def assert_holes_are_told(records: list[Any], sent: int) -> None:
    """In order for each symbol, and each missing number inside a gap that follows what came before it."""
    places: dict[str, int] = {}
    seen: dict[str, list[int]] = defaultdict(list)
    gaps: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for record in records:
        symbol = record.key.decode()
        assert places.setdefault(symbol, record.partition) == record.partition
        kind, event, until, cause = record.value.decode().split()
        if kind == "gap":
            assert cause == "shed"
            gaps[symbol].append((int(event), int(until)))
        else:
            seen[symbol].append(int(event))
    missing = 0
    for n, symbol in enumerate(SYMBOLS):
        numbers = list(dict.fromkeys(seen[symbol]))
        assert numbers == sorted(numbers)
        for number in set(range(n, sent, len(SYMBOLS))) - set(numbers):
            assert any(first <= number <= last for first, last in gaps[symbol])
            missing += 1
        for first, last in gaps[symbol]:
            assert not any(first <= number <= last for number in numbers)
    assert missing > 500
