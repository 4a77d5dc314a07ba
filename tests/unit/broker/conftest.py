"""The batched consumer with a stand-in for the thread in which aiokafka runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka.structs import ConsumerRecord
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from stockstream.broker.pace import Pace
from stockstream.broker.taken import Taken
from stockstream.broker.transport import install
from stockstream.models.records import Records

SOURCE = "ticks"

MakeRecord = Callable[..., "ConsumerRecord[Any, Any]"]


class FakeThread:
    """What the consumer asks of its thread: fetches are given in the order in which they were put here."""

    def __init__(self) -> None:
        self.fetches: deque[tuple[dict[TP, Sequence[Any]], int]] = deque()
        self.assigned: set[TP] = set()
        self.committed: dict[TP, int | None] = {}
        self.commits: list[dict[TP, int]] = []
        self.sought: list[dict[TP, int]] = []
        self.asked_for: Any = None
        self.taken = Taken()
        self.partitions: dict[bytes, int] | None = {}

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        self.asked_for = active_partitions
        records, generation = self.fetches.popleft()
        sources = {tp: Records.of(batch) for tp, batch in records.items() if tp.topic == SOURCE}
        return {**records, **self.taken.take(sources, {})}, generation

    async def seek_to_committed(self) -> dict[TP, int | None]:
        return self.committed

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.sought.append(offsets)

    async def commit(self, offsets: dict[TP, int]) -> bool:
        self.commits.append(offsets)
        return True

    def assignment(self) -> set[TP]:
        return self.assigned

    def key_partition(self, topic: str, key: bytes, partition: int | None = None) -> int | None:
        if self.partitions is None:
            raise ConsumerNotStarted
        return self.partitions.get(key)

    def highwater(self, tp: TP) -> int:
        return 1000


@pytest.fixture
def make_record() -> MakeRecord:
    def make(offset: int, topic: str = SOURCE, partition: int = 0, key: bytes | None = b"A", value: bytes | None = b""):  # type: ignore[no-untyped-def]
        return ConsumerRecord(topic, partition, offset, 0, 0, key, value, None, 1, 1, ())

    return make


@pytest.fixture
async def batched(faust_app: Any) -> Any:
    """The app with the batched transport, in generation 1 of its group, owning partition 0 of ``ticks``."""
    absorbed: list[TP] = []
    install(
        faust_app,
        sources=[[SOURCE]],
        pace=Pace(1000, 250),
        is_newer=lambda topic: None,
        on_absorbed=absorbed.append,
        before_commit=AsyncMock(),
    )
    faust_app.absorbed = absorbed
    consumer = faust_app.consumer
    consumer._thread.thread_loop.close()  # the real thread never runs
    consumer._thread = FakeThread()
    consumer._thread.assigned = {TP(SOURCE, 0)}
    consumer._set_active_tps({TP(SOURCE, 0)})
    faust_app.consumer_generation_id = 1
    consumer.open_generation = 1
    return faust_app
