from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException, RecordTooLargeError
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import ConsumerRecord, TopicPartition
from raw_batches import Item, batch, damaged

from stockstream.broker.lean_fetch import fetch_apart, read_lean
from stockstream.broker.pace import AT_ONCE, Pace
from stockstream.models.records import Records
from stockstream.testing.wait import wait_until_async

TICKS = TopicPartition("ticks", 0)
OTHER = TopicPartition("changelog", 0)
ITEMS = [Item(b"key%d" % at, b"value%d" % at) for at in range(5)]


class FakeClient:
    """The one broker: answers fetches with what lies in ``answers``, and then with nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._metadata_max_age_ms = 300_000
        self.answers: deque[dict[TopicPartition, bytes]] = deque()
        self.asked: list[dict[TopicPartition, int]] = []
        self.paces: list[Pace] = []
        self.groups: dict[str, int] = {}
        self.cluster = SimpleNamespace(leader_for_partition=lambda tp: 1)

    async def _maybe_wait_metadata(self) -> None:
        """There is nothing to wait for."""

    async def send(self, node_id: int, request: Any, group: int = 0) -> Any:
        if isinstance(request, OffsetRequest):
            self.groups["offsets"] = group
            answer = [(topic, [(at, 0, 0, 7) for at, _ in ats]) for topic, ats in request._topics]
            return SimpleNamespace(API_VERSION=1, topics=answer)
        self.groups["fetch"] = group
        self.paces.append(Pace(request._min_bytes, request._max_wait_ms))
        self.asked.append({TopicPartition(topic, at): offset for topic, ats in request.topics for at, offset, _ in ats})
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.popleft()
        topics = [
            (tp.topic, [(tp.partition, 0, 1000, 1000, [], answer.get(tp, b""))])
            for tp in self.asked[-1]
            if tp in answer
        ]
        return SimpleNamespace(API_VERSION=4, topics=topics)


class Scene:
    """A consumer that was assigned a partition of a lean topic and of another one, at offset 0."""

    def __init__(self, isolation_level: str = "read_uncommitted") -> None:
        self.client = FakeClient()
        self.state = SubscriptionState()
        self.fetcher = Fetcher(self.client, self.state, isolation_level=isolation_level)

    def begin(self, *answers: dict[TopicPartition, bytes]) -> None:
        self.client.answers.extend(answers)
        read_lean(SimpleNamespace(_fetcher=self.fetcher), {"ticks"})
        self.state.subscribe(topics={"ticks", "changelog"})
        self.state.assign_from_subscribed({TICKS, OTHER})
        self.state.seek(TICKS, 0)
        self.state.seek(OTHER, 0)

    async def take(self, max_records: int | None = None) -> dict[TopicPartition, list[Any]]:
        taken: dict[TopicPartition, list[Any]] = await self.fetcher.fetched_records(None, 5, max_records)
        return taken

    def position(self, tp: TopicPartition) -> int:
        position: int = self.state.subscription.assignment.state_value(tp).position
        return position

    async def asked(self, count: int) -> dict[TopicPartition, int]:
        await wait_until_async(lambda: len(self.client.asked) >= count, 5, f"{count} requests")
        return self.client.asked[count - 1]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.fetcher.close()


def offsets(records: Records) -> list[int]:
    return [records.offset(at) for at in range(len(records))]


async def test_a_fetch_of_a_lean_topic_is_one_records_whatever_the_limit_is(scene: Scene) -> None:
    scene.begin({TICKS: batch(0, ITEMS) + batch(5, ITEMS)})
    [records] = (await scene.take(max_records=1))[TICKS]
    assert offsets(records) == list(range(10))
    assert (records.key(7), records.value(7)) == (b"key2", b"value2")
    assert scene.position(TICKS) == 10


async def test_other_topics_are_taken_as_ever(scene: Scene) -> None:
    scene.begin({OTHER: batch(0, ITEMS), TICKS: batch(0, ITEMS)})
    taken = await scene.take()
    assert [type(record) for record in taken[OTHER]] == [ConsumerRecord] * 5
    assert [record.value for record in taken[OTHER]] == [item.value for item in ITEMS]
    assert scene.position(OTHER) == 5


async def test_other_consumers_of_the_topic_are_left_alone(scene: Scene) -> None:
    scene.begin()
    stock = Scene()
    stock.client.answers.append({TICKS: batch(0, ITEMS)})
    stock.state.subscribe(topics={"ticks"})
    stock.state.assign_from_subscribed({TICKS})
    stock.state.seek(TICKS, 0)
    assert len((await stock.take())[TICKS]) == 5
    await stock.fetcher.close()


async def test_a_fetch_without_records_moves_the_position(scene: Scene) -> None:
    scene.begin({TICKS: batch(0, ITEMS, control=True)}, {TICKS: batch(5, ITEMS)})
    [records] = (await scene.take())[TICKS]
    assert offsets(records) == [5, 6, 7, 8, 9]
    assert (await scene.asked(2))[TICKS] == 5


async def test_what_was_fetched_before_a_seek_is_not_taken(scene: Scene) -> None:
    scene.begin({TICKS: batch(0, ITEMS)}, {TICKS: batch(3, ITEMS)})
    await wait_until_async(lambda: TICKS in scene.fetcher._records, 5, "the first answer")
    scene.fetcher.seek_to(TICKS, 3)
    [records] = (await scene.take())[TICKS]
    assert offsets(records) == [3, 4, 5, 6, 7]


async def test_a_damaged_batch_is_an_error_and_nothing_is_passed(scene: Scene) -> None:
    bad = damaged(batch(5, ITEMS))
    scene.begin({TICKS: batch(0, ITEMS) + bad}, {TICKS: bad}, {TICKS: batch(5, ITEMS)})
    [records] = (await scene.take())[TICKS]
    assert offsets(records) == [0, 1, 2, 3, 4]
    with pytest.raises(CorruptRecordException, match="ticks-0 cannot be read from offset 5 on"):
        await scene.take()
    assert scene.position(TICKS) == 5
    [records] = (await scene.take())[TICKS]  # fetched once more, it was whole
    assert offsets(records) == [5, 6, 7, 8, 9]


async def test_a_batch_that_is_cut_off_before_its_first_record_is_told_as_ever(scene: Scene) -> None:
    scene.begin({TICKS: batch(0, ITEMS)[:-1]})
    with pytest.raises(RecordTooLargeError):
        await scene.take()


async def test_fetches_have_connections_of_their_own(scene: Scene) -> None:
    """A broker answers what comes over one connection in turn."""
    fetch_apart(SimpleNamespace(_fetcher=scene.fetcher, _client=scene.client), lambda: AT_ONCE)
    scene.begin()
    await scene.asked(1)
    assert await scene.fetcher.end_offsets([TICKS], 5000) == {TICKS: 7}
    assert scene.client.groups == {"fetch": 2, "offsets": ConnectionGroup.DEFAULT}
    assert scene.client.groups["fetch"] not in list(ConnectionGroup)


async def test_a_broker_gathers_as_long_as_it_has_something_to_bring(scene: Scene) -> None:
    """Else a client that is told to wait for little would ask all day for nothing."""
    pace = Pace(1000, 4)
    scene.begin({TICKS: batch(0, ITEMS)}, {OTHER: b"", TICKS: b""}, {TICKS: batch(5, ITEMS)})
    fetch_apart(SimpleNamespace(_fetcher=scene.fetcher, _client=scene.client), lambda: pace)
    await scene.take()
    await scene.take()
    await scene.asked(4)
    assert scene.client.paces == [pace, pace, AT_ONCE, pace]


async def test_transactions_are_not_for_lean_topics() -> None:
    scene = Scene("read_committed")
    with pytest.raises(NotImplementedError):
        scene.begin()
    await scene.fetcher.close()
