from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.structs import TopicPartition

from stockstream.broker.transport import poison, send_records


class FakeProducer:
    """aiokafka's producer: real builders of small batches, futures that the test resolves."""

    def __init__(self, batch_bytes: int = 300) -> None:
        self.batch_bytes = batch_bytes
        self.sent: list[tuple[BatchBuilder, str, int, asyncio.Future[Any]]] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self.batch_bytes, 0, is_transactional=False)

    async def send_batch(self, builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.sent.append((builder, topic, partition, future))
        return future


class FakeApp:
    def __init__(self) -> None:
        self.producer = SimpleNamespace(_producer=FakeProducer())
        self.consumer = SimpleNamespace(poisoned=False)
        self.crashes: list[BaseException] = []
        self.loop = asyncio.get_running_loop()

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


@pytest.fixture
async def app() -> FakeApp:
    return FakeApp()


ROWS: list[tuple[bytes, bytes | None]] = [(b"key%d" % n, b"v" * 40) for n in range(20)]


async def test_sends_one_batch_of_what_fits_into_one(app: FakeApp) -> None:
    await send_records(app, "changes", 3, ROWS[:3])
    [(builder, topic, partition, _)] = app.producer._producer.sent
    assert (builder.record_count(), builder.closed(), topic, partition) == (3, True, "changes", 3)


async def test_sends_nothing_for_nothing(app: FakeApp) -> None:
    await send_records(app, "changes", 3, [])
    assert app.producer._producer.sent == []


async def test_splits_what_does_not_fit_and_tells_each_batchs_place(app: FakeApp) -> None:
    told: list[tuple[int, int]] = []
    await send_records(app, "changes", 0, ROWS, lambda base, count: told.append((base, count)))
    sent = app.producer._producer.sent
    counts = [builder.record_count() for builder, *_ in sent]
    assert len(counts) > 2
    assert sum(counts) == len(ROWS)
    base, expected = 100, []
    for (*_, future), count in zip(sent, counts, strict=True):
        future.set_result(SimpleNamespace(offset=base))
        expected.append((base, count))
        base += count
    await asyncio.sleep(0)
    assert told == expected


async def test_waits_until_the_accumulator_has_room(app: FakeApp) -> None:
    room = asyncio.Event()
    producer = app.producer._producer
    take = producer.send_batch

    async def send_batch(*args: Any, **kwargs: Any) -> Any:
        await room.wait()
        return await take(*args, **kwargs)

    producer.send_batch = send_batch
    sending = asyncio.ensure_future(send_records(app, "changes", 0, ROWS))
    await asyncio.sleep(0)
    assert not sending.done()
    room.set()
    await sending
    assert sum(builder.record_count() for builder, *_ in producer.sent) == len(ROWS)


async def test_one_batch_of_a_partition_waits_for_its_broker_and_no_more(app: FakeApp) -> None:
    """This is what bounds the memory of sends: aiokafka's accumulator is the real one."""
    cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)
    accumulator = MessageAccumulator(cluster, 300, 0, 30)

    async def send_batch(builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await accumulator.add_batch(builder, TopicPartition(topic, partition), 30)
        return future

    app.producer._producer.send_batch = send_batch
    sending = asyncio.ensure_future(send_records(app, "changes", 0, ROWS))
    drained: list[int] = []
    async with asyncio.timeout(10):
        while sum(drained) < len(ROWS):
            await asyncio.sleep(0)
            for batches in accumulator._batches.values():
                assert len(batches) <= 1
            batches_by_node, _ = accumulator.drain_by_nodes(ignore_nodes=set())
            drained += [batch.record_count for node in batches_by_node.values() for batch in node.values()]
        await sending
    assert len(drained) > 2


@pytest.mark.parametrize("failure", ["refused", "cancelled"])
async def test_a_send_that_fails_poisons_the_consumer_and_ends_the_app(app: FakeApp, failure: str) -> None:
    told: list[tuple[int, int]] = []
    await send_records(app, "changes", 0, ROWS[:1], lambda base, count: told.append((base, count)))
    [(*_, future)] = app.producer._producer.sent
    if failure == "refused":
        future.set_exception(OSError("record too large"))
    else:
        future.cancel()
    await asyncio.sleep(0)
    assert app.consumer.poisoned
    await asyncio.sleep(0)
    assert len(app.crashes) == 1
    assert "changes" in str(app.crashes[0])
    assert told == []


async def test_the_first_failure_is_the_one_that_ends_the_app(app: FakeApp) -> None:
    poison(app, "changes", OSError("first"))
    poison(app, "candles", OSError("second"))
    await asyncio.sleep(0)
    assert [str(error) for error in app.crashes] == ["sending to changes failed: OSError('first')"]
