"""When what was read is inserted."""

from __future__ import annotations

import asyncio

import pytest

from stockstream.agents.persist import Limits, Persister
from stockstream.broker.connection import Connection
from stockstream.models import Candle, Tick, Verdict
from stockstream.models.records import Records
from stockstream.sinks.buffer import SingleRecord
from stockstream.sinks.contract import ArchivedTick
from stockstream.sinks.memory import MemorySink
from stockstream.testing.wait import wait_until_async

HOUR_S = 3_600.0


class Nothing:
    async def prepare(self, _values: Records) -> None: ...

    def decode(self, *_record: bytes | None) -> Candle:
        raise AssertionError("nothing is read")


class NoTicks(Nothing):
    def decode(self, *_record: bytes | None) -> Tick:  # type: ignore[override]  # it never returns
        raise AssertionError("nothing is read")


async def no_letter(*_letter: object) -> None:
    raise AssertionError("nothing is refused")


class Scene:
    """A persister whose reader is played by the test."""

    def __init__(self, limits: Limits) -> None:
        self.made = Persister(
            Connection("nowhere:1"), "group", "candles", ["ticks"], sink=MemorySink(), candle_decoder=Nothing(),
            tick_decoder=NoTicks(), judge=lambda _tick: Verdict.ACCEPTED, dead_letter=no_letter, limits=limits,
        )  # fmt: skip
        self.reader = self.made._reader
        self.offset = 0

    def read(self, rows: int, *, has_more: bool) -> None:
        for _ in range(rows):
            tick = ArchivedTick(Tick("A", 1), Verdict.ACCEPTED, "ticks", 0, self.offset)
            self.made._backlog.add_tick(tick, SingleRecord("ticks", 0, self.offset, b"A", b""), 0.0)
            self.offset += 1
        self.reader.has_more = has_more
        self.reader.added.set()

    async def due(self) -> asyncio.Task[None]:
        """Waits to be told to flush, the last flush having been just now."""
        self.made._flushed_s = asyncio.get_running_loop().time()
        return await self.waiting()

    async def waiting(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self.made._until_due())
        await turns()
        return task


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_rows_are_gathered_while_there_is_more_to_read() -> None:
    scene = Scene(Limits(flush_rows=10, flush_s=HOUR_S, max_rows=200))
    due = await scene.due()
    for _ in range(9):
        scene.read(11, has_more=True)
        await turns()
        assert not due.done()
    scene.read(1, has_more=True)
    await asyncio.wait_for(due, 10)


@pytest.mark.parametrize(("rows", "is_due"), [(9, False), (10, True)])
async def test_where_nothing_more_is_to_be_read_fewer_are_enough(rows: int, is_due: bool) -> None:
    scene = Scene(Limits(flush_rows=10, flush_s=HOUR_S, max_rows=200))
    due = await scene.due()
    scene.read(rows, has_more=True)
    await turns()
    assert not due.done()
    scene.read(0, has_more=False)
    await turns()
    assert due.done() is is_due
    due.cancel()


async def test_a_single_row_waits_until_the_last_insert_is_long_ago() -> None:
    scene = Scene(Limits(flush_rows=10, flush_s=0.05, max_rows=200))
    due = await scene.due()
    scene.read(1, has_more=False)
    await turns()
    assert not due.done()
    await asyncio.wait_for(due, 10)


async def test_when_the_last_insert_is_long_ago_a_row_does_not_wait() -> None:
    scene = Scene(Limits(flush_rows=10, flush_s=HOUR_S, max_rows=200))
    scene.made._flushed_s = asyncio.get_running_loop().time() - HOUR_S
    due = await scene.waiting()
    assert not due.done()
    scene.read(1, has_more=False)
    await wait_until_async(due.done, 10, "the row to be due")


async def test_full_buffers_do_not_wait_for_more() -> None:
    scene = Scene(Limits(flush_rows=10, flush_s=HOUR_S, max_rows=200, max_bytes=20 * 1_200))
    due = await scene.due()
    scene.read(25, has_more=True)
    await asyncio.wait_for(due, 10)
