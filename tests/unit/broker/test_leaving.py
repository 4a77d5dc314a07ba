from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from stockstream.broker.client_thread import ClientThread
from stockstream.broker.leaving import stop_and_leave


class Coordinator:
    group_id, coordinator_id, member_id = "group", 1, "member"
    _group_instance_id: str | None = None

    def __init__(self, is_joining: bool) -> None:
        self._is_joining = is_joining
        self._subscription = self
        self.subscription = "ticks"

    def need_rejoin(self, subscription: str) -> bool:
        return self._is_joining


class Consumer:
    """An aiokafka consumer, in whose stop a join that is under way comes to its end only when the group was left."""

    def __init__(self, is_joining: bool) -> None:
        self._client, self._coordinator = self, Coordinator(is_joining)
        self._joined = asyncio.Event()
        if not is_joining:
            self._joined.set()
        self.error: Exception | None = None
        self.happened: list[Any] = []

    async def stop(self) -> None:
        self.happened.append("stops")
        await self._joined.wait()
        self.happened.append("stopped")

    async def send(self, node: int, request: Any) -> None:
        self.happened.append(("left", node, request._group, request._member_id))
        self._joined.set()
        if self.error is not None:
            raise self.error


async def test_the_group_is_left_in_the_middle_of_a_join() -> None:
    consumer = Consumer(is_joining=True)
    await stop_and_leave(consumer, lambda: consumer.happened.append("told"))
    left = ("left", 1, "group", "member")
    assert [step for step in consumer.happened if step != "stopped"] == ["stops", left, "told"]
    assert "stopped" in consumer.happened


async def test_otherwise_aiokafka_leaves_it() -> None:
    consumer = Consumer(is_joining=False)
    await stop_and_leave(consumer, lambda: consumer.happened.append("told"))
    assert sorted(consumer.happened) == ["stopped", "stops", "told"]


@pytest.mark.parametrize(("name", "value"), [("_group_instance_id", "w0"), ("member_id", ""), ("coordinator_id", None)])
async def test_a_static_member_stays_and_who_is_none_has_nothing_to_leave(name: str, value: object) -> None:
    consumer = Consumer(is_joining=True)
    setattr(consumer._coordinator, name, value)
    told = asyncio.Event()
    stopping = asyncio.create_task(stop_and_leave(consumer, told.set))
    await told.wait()
    assert consumer.happened == ["stops"]
    consumer._joined.set()  # the others have come
    await stopping
    assert consumer.happened == ["stops", "stopped"]


async def test_a_broker_that_does_not_answer_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(is_joining=True)
    consumer.error = NodeNotReadyError("node 1")
    await stop_and_leave(consumer, lambda: consumer.happened.append("told"))
    assert "told" in consumer.happened
    assert "it will wait for us" in caplog.text


class TestThread:
    @pytest.fixture
    def thread(self, batched: Any) -> Any:
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()
        return thread

    async def test_a_join_waits_while_the_app_stops_until_the_group_is_left(self, batched: Any, thread: Any) -> None:
        batched._stopped.set()
        thread._consumer = Consumer(is_joining=True)
        revoking = asyncio.create_task(thread.on_partitions_revoked(set()))
        await asyncio.sleep(0)
        assert not revoking.done()
        await thread.on_thread_stop()
        await revoking
        assert thread._consumer.happened[1][0] == "left"

    def test_is_not_closed_from_another_thread(self, batched: Any, thread: Any) -> None:
        batched.consumer._thread = thread
        thread._consumer = object()
        batched._on_rebalance_when_stopped()

    async def test_stops_without_having_started(self, thread: Any) -> None:
        await thread.on_thread_stop()
        assert thread._left.is_set()
