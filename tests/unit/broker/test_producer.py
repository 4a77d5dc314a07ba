"""The producer over a client that acknowledges, fails and hangs as told."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, OutOfOrderSequenceNumber
from aiokafka.partitioner import DefaultPartitioner

from stockstream.broker.batch_client import Record
from stockstream.broker.connection import Connection
from stockstream.broker.producer import TickProducer
from stockstream.errors import BrokerUnreachable, InvalidInput
from stockstream.models import Tick
from stockstream.testing.wait import wait_until_async

PARTITIONS = 5
Log = dict[int, list[tuple[bytes, bytes]]]


class Broker:
    """What all clients write to: ``answers`` False keeps every acknowledgement back."""

    def __init__(self) -> None:
        self.log: Log = defaultdict(list)
        self.answers = True
        self.is_up = True
        self.failures: list[Exception] = []
        self.clients: list[Client] = []
        self.batches = 0
        self.most = 1000
        self.waiting: list[tuple[Client, int]] = []

    def client(self, options: Any, topic: str, **callbacks: Any) -> Client:
        self.clients.append(Client(self, **callbacks))
        return self.clients[-1]

    def receive(self, client: Client, partition: int) -> None:
        if client.stopped:
            return
        if self.failures:
            client.on_failed(self.failures.pop(0))
        elif self.answers:
            self.batches += 1
            self.log[partition] += client.in_flight.pop(partition)
            client.on_acknowledged([partition])
        else:
            self.waiting.append((client, partition))

    def answer(self) -> None:
        self.answers = True
        waiting, self.waiting = self.waiting, []
        for client, partition in waiting:
            self.receive(client, partition)

    @property
    def values(self) -> list[str]:
        return [value.decode() for records in self.log.values() for _, value in records]


class Client:
    def __init__(
        self,
        broker: Broker,
        *,
        compression: str | None,
        batch_bytes: int,
        acks: str,
        on_acknowledged: Any,
        on_failed: Any,
    ) -> None:
        self.on_acknowledged, self.on_failed = on_acknowledged, on_failed
        self.in_flight: dict[int, list[tuple[bytes, bytes]]] = {}
        self.stopped = False
        self._broker = broker
        self._taken: list[int] = []

    async def start(self) -> set[int]:
        if not self._broker.is_up:
            raise KafkaConnectionError("down")
        return set(range(PARTITIONS))

    async def stop(self) -> None:
        self.stopped = True

    def take(self, partition: int, waiting: deque[Record], now_ms: int) -> list[Record]:
        assert partition not in self.in_flight, "two batches of one partition are under way"
        taken = [waiting.popleft() for _ in range(min(self._broker.most, len(waiting)))]
        self.in_flight[partition] = [record[:2] for record in taken]
        self._taken.append(partition)
        return taken

    def send(self) -> None:
        partitions, self._taken = self._taken, []
        for partition in partitions:
            asyncio.get_running_loop().call_soon(self._broker.receive, self, partition)


def encode(tick: Tick) -> bytes:
    if tick.symbol == "UNFIT":
        raise InvalidInput("cannot carry it")
    return f"{tick.symbol} {tick.kind} {tick.event_time}".encode()


def ticks(first: int, count: int, symbols: int = 7) -> list[Tick]:
    return [Tick(f"S{n % symbols}", n, 1.0) for n in range(first, first + count)]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def producer(broker: Broker) -> AsyncIterator[TickProducer]:
    producer = TickProducer(
        Connection("nowhere:1"),
        "topic",
        encode,
        now_ms=lambda: 77,
        linger_ms=1,
        buffer_ticks=50,
        shed_after_s=0.2,
        make_client=broker.client,
    )
    await producer.start()
    yield producer
    broker.answer()
    await producer.close(5)


def assert_in_order(broker: Broker) -> None:
    """Every symbol's records lie in one partition, that of murmur2, in the order in which they were sent."""
    for partition, records in broker.log.items():
        last: dict[bytes, int] = {}
        for key, value in records:
            assert DefaultPartitioner()(key, list(range(PARTITIONS)), []) == partition
            number = int(value.split()[-1])
            assert number > last.get(key, -1)
            last[key] = number


async def test_ticks_of_some_milliseconds_become_one_batch_a_partition(producer: TickProducer, broker: Broker) -> None:
    for tick in ticks(0, 40):
        await producer.send([tick])
    assert await producer.flush(5)
    assert sorted(broker.values) == sorted(encode(tick).decode() for tick in ticks(0, 40))
    assert broker.batches <= PARTITIONS
    assert_in_order(broker)
    counts = producer.counts
    assert (counts.accepted, counts.acknowledged, counts.shed, producer.buffered) == (40, 40, 0, 0)
    assert sum(producer.latency.counts) == 40
    assert (producer.symbols["S0"].accepted, producer.symbols["S6"].accepted) == (6, 5)


async def test_what_comes_while_a_batch_is_under_way_makes_the_next(producer: TickProducer, broker: Broker) -> None:
    broker.answers, broker.most = False, 3
    await producer.send(ticks(0, 10, symbols=1))
    await wait_until_async(lambda: broker.waiting, 5, "the first batch")
    await producer.send(ticks(10, 10, symbols=1))
    assert not await producer.flush(0.05)
    assert len(broker.waiting) == 1
    broker.answer()
    assert await producer.flush(5)
    assert [value.split()[-1] for value in broker.values] == [str(n) for n in range(20)]
    assert broker.batches == 7


async def test_flushing_waits_for_what_came_before_and_for_nothing_else(producer: TickProducer, broker: Broker) -> None:
    broker.answers, broker.most = False, 10
    await producer.send(ticks(0, 10, symbols=1))
    await wait_until_async(lambda: broker.waiting, 5, "the first batch")
    flushed = asyncio.create_task(producer.flush(60))
    await asyncio.sleep(0)
    await producer.send(ticks(10, 10, symbols=1))
    later = asyncio.create_task(producer.flush(60))
    await asyncio.sleep(0)
    (client, partition), broker.waiting = broker.waiting[0], []
    broker.answers = True
    broker.receive(client, partition)
    broker.answers = False
    assert await flushed
    assert producer.buffered == 10
    await wait_until_async(lambda: broker.waiting, 5, "the second batch")
    assert not later.done()
    broker.answer()
    assert await later


async def test_flushing_waits_until_what_was_shed_is_told(producer: TickProducer, broker: Broker) -> None:
    broker.answers = False
    await producer.send(ticks(0, 50))
    await producer.send([Tick("S1", 100, 1.0)])
    assert producer.counts.shed == 1
    flushed = asyncio.create_task(producer.flush(60))
    await wait_until_async(lambda: broker.waiting, 5, "the batches")
    broker.answer()
    assert await flushed
    assert "S1 gap 100" in broker.values


async def test_a_full_buffer_makes_callers_wait_until_there_is_room(producer: TickProducer, broker: Broker) -> None:
    producer._shed_after_s = 60
    broker.answers = False
    await producer.send(ticks(0, 50))
    waiting = [asyncio.create_task(producer.send(ticks(50 + n, 1, symbols=1))) for n in range(3)]
    await wait_until_async(lambda: broker.waiting, 5, "the batches")
    assert not any(task.done() for task in waiting)
    assert producer.trouble is not None
    broker.answer()
    await asyncio.gather(*waiting)
    assert await producer.flush(5)
    assert producer.trouble is None
    assert (len(broker.values), producer.counts.shed) == (53, 0)
    assert_in_order(broker)


async def test_what_is_offered_is_taken_only_if_nobody_has_to_wait(producer: TickProducer, broker: Broker) -> None:
    broker.answers = False
    assert producer.offer(())
    assert producer.offer(ticks(0, 50))
    assert not producer.offer(())
    assert not producer.offer(ticks(50, 1))
    assert producer.counts.accepted == 50
    producer.stop_waiting()
    assert producer.offer(ticks(50, 1))
    await wait_until_async(lambda: broker.waiting, 5, "the batches")
    broker.answer()
    assert await producer.flush(5)
    assert len(broker.values) == 51
    assert_in_order(broker)


async def test_what_is_shed_is_counted_and_told_as_a_gap(producer: TickProducer, broker: Broker) -> None:
    broker.answers = False
    await producer.send(ticks(0, 50))
    await producer.send([Tick("S1", 100, 1.0), Tick("S2", 120, 1.0), Tick("S2", 5, 1.0, kind="quote")])
    await producer.send([Tick("S1", 130, 1.0)])
    assert (producer.counts.shed, producer.symbols["S1"].shed, producer.symbols["S2"].shed) == (4, 2, 2)
    assert producer.trouble is not None
    broker.answer()
    assert await producer.flush(5)
    assert sorted(value for value in broker.values if " gap " in value) == ["S1 gap 100", "S2 gap 120"]
    await producer.send([Tick("S1", 140, 1.0)])
    assert await producer.flush(5)
    assert len(broker.values) == 53
    assert [value for value in broker.values if value.startswith("S1 ")][-2:] == ["S1 gap 100", "S1 trade 140"]


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber(), KafkaError("no"), AssertionError("Unrecognized")])
async def test_a_batch_that_failed_is_sent_again_in_order_with_a_new_client(
    producer: TickProducer, broker: Broker, error: Exception
) -> None:
    broker.failures = [error]
    for first in range(0, 40, 10):
        await producer.send(ticks(first, 10))
    assert await producer.flush(10)
    assert len(broker.clients) == 2
    assert broker.clients[0].stopped
    assert len(set(broker.values)) == 40
    assert producer.counts.acknowledged == 40
    assert_in_order(broker)


async def test_an_outage_while_beginning_anew_is_waited_for(producer: TickProducer, broker: Broker) -> None:
    broker.failures, broker.is_up = [KafkaError("no")], False
    await producer.send(ticks(0, 10))
    await wait_until_async(lambda: len(broker.clients) > 2, 10, "two attempts")
    assert "nowhere:1" in (producer.trouble or "")
    await producer.send(ticks(10, 10))
    broker.is_up = True
    assert await producer.flush(20)
    assert len(broker.values) == 20
    assert producer.trouble is None
    assert_in_order(broker)


async def test_what_the_schema_cannot_carry_is_counted(producer: TickProducer, broker: Broker) -> None:
    await producer.send([Tick("UNFIT", 1, 1.0), Tick("A", 2, 1.0), Tick("UNFIT", 3, 1.0)])
    assert await producer.flush(5)
    assert (producer.counts.refused, producer.counts.accepted, broker.values) == (2, 1, ["A trade 2"])


async def test_at_the_end_nobody_waits_and_what_is_left_is_told(producer: TickProducer, broker: Broker) -> None:
    producer._shed_after_s = 60
    broker.answers = False
    await producer.send(ticks(0, 50))
    late = asyncio.create_task(producer.send(ticks(50, 5)))
    await wait_until_async(lambda: broker.waiting, 5, "the batches")
    producer.stop_waiting()
    await late
    assert await producer.close(0.1) == 55


async def test_an_unreachable_broker_is_a_clear_error(broker: Broker) -> None:
    broker.is_up = False
    producer = TickProducer(Connection("nowhere:1"), "topic", encode, now_ms=lambda: 0, make_client=broker.client)
    with pytest.raises(BrokerUnreachable, match="no Kafka broker answers at nowhere:1"):
        await producer.start()
    assert broker.clients[0].stopped


@pytest.mark.parametrize(("acks", "told"), [("all", None), ("1", "with the broker"), ("0", "whenever a connection")])
async def test_acks_that_promise_less_are_warned_of(
    broker: Broker, caplog: pytest.LogCaptureFixture, acks: Any, told: str | None
) -> None:
    producer = TickProducer(
        Connection("nowhere:1"), "topic", encode, now_ms=lambda: 0, acks=acks, make_client=broker.client
    )
    await producer.start()
    await producer.close(1)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (told is not None)
    assert all(f"producer_acks={acks}" in each and str(told) in each for each in warned)


async def test_a_line_for_each_n_ticks(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stockstream.broker.producer")
    producer = TickProducer(
        Connection("nowhere:1"), "topic", encode, now_ms=lambda: 0, log_every_ticks=10, make_client=broker.client
    )
    await producer.start()
    for number in range(25):
        await producer.send(ticks(number, 1))
    await producer.send(ticks(25, 30))
    await producer.send(ticks(55, 5))
    told = [record.getMessage().split(",")[0] for record in caplog.records]
    assert told == [f"topic: {count} ticks taken" for count in (10, 20, 55, 60)]
    broker.answer()
    await producer.close(5)
