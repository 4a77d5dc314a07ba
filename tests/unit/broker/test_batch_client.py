"""The client over links and metadata that do as told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.record.default_records import DefaultRecordBatch

from stockstream.broker import batch_client
from stockstream.broker.batch_client import BatchClient, Record
from stockstream.testing.wait import wait_until_async

NOT_LEADER, DUPLICATE, OUT_OF_ORDER = 6, 46, 45
PRODUCER_ID, EPOCH = 4711, 3


class Cluster:
    """Two brokers; the links that were made to them."""

    def __init__(self) -> None:
        self.leaders = {0: 1, 1: 1, 2: 2}
        self.is_up = True
        self.links: list[FakeLink] = []
        self.updates = 0

    def leader_for_partition(self, place: Any) -> int:
        return self.leaders[place.partition]

    def broker_metadata(self, node: int) -> Any:
        return SimpleNamespace(host=f"broker-{node}", port=9092)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(self.leaders)

    @property
    def sent(self) -> list[tuple[str, list[int]]]:
        return [(link.host, [partition for partition, _ in batches]) for link in self.links for batches in link.sent]


class FakeLink:
    cluster: Cluster

    def __init__(self, topic: str, timeout_ms: int, *, acks: str, on_answer: Any, on_lost: Any) -> None:
        self.on_answer, self.on_lost = on_answer, on_lost
        self.sent: list[list[tuple[int, bytes]]] = []
        self.is_open = False
        self.oldest_s: float | None = None
        self.host = ""

    async def open(self, host: str, port: int, options: Any) -> None:
        if not self.cluster.is_up:
            raise KafkaConnectionError("down")
        self.host, self.is_open = host, True
        self.cluster.links.append(self)

    def send(self, batches: Any) -> None:
        assert self.is_open
        self.sent.append(list(batches))

    def abort(self) -> None:
        self.lose()

    async def close(self) -> None:
        self.is_open = False

    def lose(self) -> None:
        if self.is_open:
            self.is_open = False
            self.on_lost(self, [partition for batches in self.sent[-1:] for partition, _ in batches])


class FakeMetadata:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def bootstrap(self) -> None:
        pass

    async def set_topics(self, topics: list[str]) -> None:
        pass

    async def force_metadata_update(self) -> bool:
        self.cluster.updates += 1
        return True

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: Any) -> Any:
        return SimpleNamespace(error_code=0, producer_id=PRODUCER_ID, producer_epoch=EPOCH)

    async def close(self) -> None:
        pass


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = FakeLink.cluster = Cluster()
        monkeypatch.setattr(batch_client, "Link", FakeLink)
        monkeypatch.setattr(batch_client, "AIOKafkaClient", lambda **_: FakeMetadata(self.cluster))
        monkeypatch.setattr(batch_client, "_WATCH_EVERY_S", 0.01)
        self.acknowledged: list[int] = []
        self.failures: list[Exception] = []
        self.client = BatchClient(
            {}, "ticks", compression=None, on_acknowledged=self.acknowledged.extend, on_failed=self.failures.append
        )

    def produce(self, *partitions: int, count: int = 2) -> None:
        for partition in partitions:
            waiting: deque[Record] = deque((b"k", b"%d" % n, 0.0) for n in range(count))
            assert len(self.client.take(partition, waiting, 77)) == count
        self.client.send()

    def answer(self, link: int, *entries: tuple[int, int]) -> None:
        self.cluster.links[link].on_answer(list(entries))


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    scene = Scene(monkeypatch)
    assert await scene.client.start() == {0, 1, 2}
    yield scene
    await scene.client.stop()


async def test_one_request_a_leader_with_numbered_batches(scene: Scene) -> None:
    scene.produce(0, 1, 2)
    assert scene.cluster.sent == [("broker-1", [0, 1]), ("broker-2", [2])]
    scene.answer(0, (0, 0), (1, 0))
    assert scene.acknowledged == [0, 1]
    scene.produce(0, count=3)
    first, second = (DefaultRecordBatch(dict(scene.cluster.links[0].sent[number])[0]) for number in (0, 1))
    assert first.validate_crc()
    assert (first.producer_id, first.producer_epoch, first.base_sequence) == (PRODUCER_ID, EPOCH, 0)
    assert (second.base_sequence, [record.value for record in second]) == (2, [b"0", b"1", b"2"])
    assert (first.first_timestamp, next(iter(first)).key) == (77, b"k")


async def test_a_full_batch_leaves_the_rest(scene: Scene) -> None:
    waiting: deque[Record] = deque((b"k", bytes(150_000), 0.0) for _ in range(5))
    assert len(scene.client.take(0, waiting, 1)) == 2
    assert len(waiting) == 3
    huge: deque[Record] = deque([(b"k", bytes(900_000), 0.0)])
    assert len(scene.client.take(1, huge, 1)) == 1


async def test_what_may_be_retried_is_sent_again_byte_for_byte_to_the_new_leader(scene: Scene) -> None:
    scene.produce(0, 1)
    scene.cluster.leaders[1] = 2
    scene.answer(0, (0, 0), (1, NOT_LEADER))
    assert scene.acknowledged == [0]
    await wait_until_async(lambda: len(scene.cluster.sent) == 2, 10, "the batch to be sent again")
    assert scene.cluster.updates
    assert scene.cluster.links[1].sent == [[scene.cluster.links[0].sent[0][1]]]
    scene.answer(1, (1, DUPLICATE))
    assert scene.acknowledged == [0, 1]
    assert scene.failures == []


async def test_a_lost_connection_is_made_again_however_long_that_takes(scene: Scene) -> None:
    scene.produce(0, 2)
    scene.cluster.is_up = False
    scene.cluster.links[0].lose()
    await wait_until_async(lambda: scene.cluster.updates > 3, 20, "some attempts")
    assert len(scene.cluster.links) == 2
    scene.produce(1)
    scene.answer(1, (2, 0))
    scene.cluster.is_up = True
    await wait_until_async(lambda: len(scene.cluster.links) == 3 and scene.cluster.links[2].sent, 20, "a connection")
    assert sorted(dict(scene.cluster.links[2].sent[0])) == [0, 1]
    assert dict(scene.cluster.links[2].sent[0])[0] == dict(scene.cluster.links[0].sent[0])[0]
    scene.answer(2, (0, 0), (1, 0))
    assert sorted(scene.acknowledged) == [0, 1, 2]


async def test_a_connection_lost_while_nothing_was_under_way_is_no_matter(scene: Scene) -> None:
    scene.cluster.links[0].lose()
    scene.produce(0)
    await wait_until_async(lambda: len(scene.cluster.links) == 3, 10, "a connection")
    assert scene.cluster.links[2].sent


async def test_an_answer_that_is_overdue_ends_the_connection(scene: Scene) -> None:
    scene.produce(0)
    scene.cluster.links[0].oldest_s = float("-inf")
    await wait_until_async(lambda: len(scene.cluster.links) == 3 and scene.cluster.links[2].sent, 10, "another one")
    assert scene.cluster.links[2].sent == [scene.cluster.links[0].sent[0]]


async def test_what_must_not_be_retried_ends_the_client_after_what_was_written(scene: Scene) -> None:
    scene.produce(0, 1, 2)
    scene.answer(0, (0, OUT_OF_ORDER), (1, 0))
    assert scene.acknowledged == [1]
    assert [type(failure).__name__ for failure in scene.failures] == ["OutOfOrderSequenceNumber"]
    scene.answer(1, (2, OUT_OF_ORDER))
    scene.cluster.links[0].lose()
    await asyncio.sleep(0)
    assert (len(scene.failures), len(scene.cluster.links)) == (1, 2)


async def test_leaving_ends_what_it_began(scene: Scene) -> None:
    scene.produce(0)
    await scene.client.stop()
    assert not any(link.is_open for link in scene.cluster.links)
    assert scene.failures == []
