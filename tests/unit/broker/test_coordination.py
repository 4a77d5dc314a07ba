from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from stockstream.broker.coordination import look_again_for_coordinator, watch_membership


class FakeClient:
    def __init__(self) -> None:
        self.known: set[str] = set()
        self.cluster = SimpleNamespace(brokers=lambda: self.known)

    async def coordinator_lookup(self, kind: Any, key: str) -> str:
        assert self.known, "Did we not perform bootstrap?"
        return f"coordinator of {key}"


async def test_a_cluster_without_brokers_is_asked_again() -> None:
    client = FakeClient()
    look_again_for_coordinator(SimpleNamespace(_client=client))
    with pytest.raises(GroupCoordinatorNotAvailableError) as caught:
        await client.coordinator_lookup(0, "group")
    assert caught.value.retriable
    client.known.add("broker")
    assert await client.coordinator_lookup(0, "group") == "coordinator of group"


def member(task: asyncio.Task[None]) -> Any:
    return SimpleNamespace(_coordinator=SimpleNamespace(_coordination_task=task))


async def test_an_error_that_ends_membership_is_told() -> None:
    async def fails() -> None:
        raise KafkaError("gone")

    task, told = asyncio.create_task(fails()), list[BaseException]()
    watch_membership(member(task), told.append)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [str(error) for error in told] == ["KafkaError: gone"]


async def test_an_end_in_good_order_is_not() -> None:
    task, told = asyncio.create_task(asyncio.sleep(100)), list[BaseException]()
    watch_membership(member(task), told.append)  # type: ignore[arg-type]  # it returns nothing
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert told == []
