"""Faust's recovery of tables, for changelogs that are absorbed in bulk and for brokers that are away.

It reaches into Faust 0.15.3: see ``tests/unit/test_private_names.py``.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Container
from typing import Any

from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service

log = logging.getLogger(__name__)


class BulkRecovery(Recovery):
    """Ends when `stockstream.broker.stores.absorb` says so, and begins again when brokers have not answered in time.

    Stock Faust takes the end of one recovery, up to five seconds later, for that of the next; works on for a moment as
    if recovered when the group moves meanwhile; and ends its recovery for good, silently, after a time-out.
    """

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing comes this way, and the end of a recovery is not for it to take back."""

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        self.signal_recovery_end.clear()
        self._begun = time.monotonic(), time.process_time(), self.active_remaining_total()

    def end(self) -> None:
        """All that was written before the recovery began has been read."""
        began_s, cpu_s, count = self._begun
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
        log.info("recovered: %d changes of rows in %.3f s, %.3f s of processor time", count, took_s, cpu_s)
        self._set_recovery_ended()
        self.signal_recovery_end.set()

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - Faust's signature
        again = self.signal_recovery_start
        if again.is_set():  # so that nothing of what is out of date is even begun
            if inspect.iscoroutine(coro):
                coro.close()
            raise RebalanceAgain
        waited: Any = await self.wait_first(coro, again, timeout=timeout)  # type: ignore[arg-type]  # as in Faust
        if again in waited.done:
            raise RebalanceAgain
        if waited.stopped and self.should_stop:
            raise ServiceStopped
        if waited.stopped:
            log.warning("brokers have not answered for %g s while rows are recovered: beginning again", timeout)
            again.set()
            raise RebalanceAgain


BulkRecovery.logger = Recovery.logger  # not one of this module's name: its steps are Faust's to tell


def recover_in_bulk(app: Any) -> None:
    """Give the tables of ``app``, before they are used, this recovery."""
    tables = app.tables
    tables._recovery = BulkRecovery(app, tables, beacon=tables.beacon, loop=tables.loop)


def partitions_without_rows(app: Any, sources: Container[str]) -> list[TP]:
    """Partitions of ``sources`` that the group gave us without those of the tables' changelogs.

    Their rows were not recovered. The group's leader does so when a member's subscription lacks the changelogs, and the
    broker hands such an assignment on to whoever takes the member's place by its instance id.
    """
    ours = app.assignor.assigned_actives()
    logs = app.tables.changelog_topics
    return sorted(
        tp
        for tp in app.consumer.assignment()
        if tp.topic in sources and not all(TP(log, tp.partition) in ours for log in logs)
    )
