from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.types import TP

from stockstream.broker.recovery import BulkRecovery, recover_in_bulk


@pytest.fixture
async def recovery(faust_app: Any) -> BulkRecovery:
    recover_in_bulk(faust_app)
    made: BulkRecovery = faust_app.tables.recovery
    return made


async def test_the_end_of_one_recovery_is_not_that_of_the_next(recovery: BulkRecovery) -> None:
    recovery.signal_recovery_end.set()
    recovery._set_recovery_started()
    assert not recovery.signal_recovery_end.is_set()


async def test_the_end_of_a_recovery_is_not_taken_back(recovery: BulkRecovery) -> None:
    recovery._set_recovery_started()
    recovery.signal_recovery_end.set()
    for task in recovery._get_tasks():
        if task.fun.__name__ != "_restart_recovery":
            await asyncio.wait([asyncio.ensure_future(task.fun(recovery))], timeout=0.01)
    assert recovery.signal_recovery_end.is_set()


async def test_a_step_that_takes_too_long_has_recovery_begin_again(
    recovery: BulkRecovery, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.Event().wait(), timeout=0.01)
    assert recovery.signal_recovery_start.is_set()
    assert "brokers have not answered for 0.01 s" in caplog.text


async def test_nothing_of_a_recovery_that_is_out_of_date_is_begun(recovery: BulkRecovery) -> None:
    done: list[bool] = []

    async def step() -> None:
        done.append(True)

    recovery.signal_recovery_start.set()
    with pytest.raises(RebalanceAgain):
        await recovery._wait(step())
    assert done == []


async def test_a_step_is_waited_for(recovery: BulkRecovery) -> None:
    done: list[bool] = []

    async def step() -> None:
        await asyncio.sleep(0)
        done.append(True)

    await recovery._wait(step(), timeout=10)
    assert done == [True]


async def test_a_group_that_moves_ends_a_step(recovery: BulkRecovery) -> None:
    asyncio.get_running_loop().call_soon(recovery.signal_recovery_start.set)
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.Event().wait(), timeout=10)


async def test_a_stop_ends_a_step(recovery: BulkRecovery) -> None:
    asyncio.get_running_loop().call_soon(recovery._stopped.set)
    with pytest.raises(ServiceStopped):
        await recovery._wait(asyncio.Event().wait(), timeout=10)


async def test_its_end_is_told_once_and_with_what_was_read(
    recovery: BulkRecovery, caplog: pytest.LogCaptureFixture
) -> None:
    changelog = TP("unit-latest-changelog", 0)
    recovery.active_highwaters[changelog], recovery.active_offsets[changelog] = 9, 2
    with caplog.at_level(logging.INFO):
        recovery._set_recovery_started()
        recovery.end()
    assert (recovery.in_recovery, recovery.signal_recovery_end.is_set()) == (False, True)
    assert "recovered: 7 changes of rows in 0.0" in caplog.text
