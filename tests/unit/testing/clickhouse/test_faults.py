from __future__ import annotations

import asyncio

from stockstream.testing.clickhouse.faults import Fault, FaultMode, Faults


def test_a_fault_meets_as_many_matching_requests_as_were_ordered() -> None:
    faults = Faults()
    faults.add(Fault(FaultMode.RESET, count=2, match="insert into T"))
    seen = [faults.take(sql) for sql in ("SELECT 1", "INSERT INTO t x", "SELECT 2", "INSERT INTO t y", "INSERT INTO t")]
    assert [fault is not None for fault in seen] == [False, True, False, True, False]


def test_faults_come_in_the_order_in_which_they_were_asked_for() -> None:
    faults = Faults()
    for mode in (FaultMode.LOST, FaultMode.PARTS):
        faults.add(Fault(mode))
    taken = [faults.take("x") for _ in range(3)]
    assert [fault and fault.mode for fault in taken] == [FaultMode.LOST, FaultMode.PARTS, None]


async def test_clearing_forgets_what_was_to_come_and_frees_what_waits() -> None:
    faults = Faults()
    faults.add(Fault(FaultMode.RESET, count=1000))
    waiting = asyncio.create_task(faults.last(seconds=1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    faults.clear()
    await asyncio.wait_for(waiting, 10)
    assert faults.take("x") is None
