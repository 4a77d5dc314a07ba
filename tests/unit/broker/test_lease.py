from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.broker import lease as module
from stockstream.broker.lease import Lease, guard_sends, watch_heartbeats
from stockstream.errors import LEASE_LOST


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The steady clock, to be set."""
    clock = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


class TestLease:
    def test_is_free_until_the_group_was_joined(self) -> None:
        assert Lease(10).holds()

    def test_ends_a_session_after_the_last_sign_of_life_was_sent(self, now: list[float]) -> None:
        lease = Lease(10)
        lease.renew(now[0])
        now[0] += 9.9
        assert lease.holds()
        now[0] += 0.2
        assert not lease.holds()

    async def test_counts_from_the_sending_of_a_heartbeat_that_was_answered(self, now: list[float]) -> None:
        group = FakeGroup(now)
        lease = Lease(10)
        watch_heartbeats(group, lease)
        await group._do_heartbeat()  # its answer takes 4 s
        now[0] = 109.9
        assert lease.holds()
        now[0] = 110.1
        assert not lease.holds()

    async def test_is_not_renewed_by_a_heartbeat_that_failed(self, now: list[float]) -> None:
        group = FakeGroup(now)
        lease = Lease(10)
        lease.renew(now[0])
        watch_heartbeats(group, lease)
        group.alive = False
        await group._do_heartbeat()
        now[0] = 110.1
        assert not lease.holds()

    async def test_is_renewed_by_joining_the_group_again(self, now: list[float]) -> None:
        group = FakeGroup(now)
        lease = Lease(10)
        lease.renew(now[0] - 60)
        watch_heartbeats(group, lease)
        assert await group._do_rejoin_group("subscription") is True
        assert lease.holds()

    async def test_is_not_renewed_by_a_join_that_must_be_repeated(self, now: list[float]) -> None:
        group = FakeGroup(now)
        lease = Lease(10)
        lease.renew(now[0] - 60)
        watch_heartbeats(group, lease)
        group.alive = False
        assert await group._do_rejoin_group("subscription") is False
        assert not lease.holds()


class FakeGroup:
    """aiokafka's coordinator: each request takes 4 s of the clock."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.alive = True

    async def _do_heartbeat(self) -> bool:
        self.clock[0] += 4
        return self.alive

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        self.clock[0] += 4
        return self.alive


class Ended(Exception):
    """Stands for the end of the process."""


class TestSending:
    @pytest.fixture
    def guarded(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def end(code: int) -> None:
            raise Ended(code)

        monkeypatch.setattr(os, "_exit", end)
        sent: list[int] = []

        async def send(node_id: int, batches: Any) -> str:
            sent.append(node_id)
            return "answered"

        sender = SimpleNamespace(_send_produce_req=send, sent=sent)
        sender.lease, sender.app = Lease(10), SimpleNamespace(rebalancing=False)
        guard_sends(sender, sender.lease, sender.app)
        return sender

    async def test_goes_on_while_the_lease_holds(self, guarded: Any) -> None:
        assert await guarded._send_produce_req(3, {}) == "answered"
        assert guarded.sent == [3]

    async def test_waits_while_the_broker_does_not_answer_heartbeats(self, guarded: Any, now: list[float]) -> None:
        guarded.lease.renew(now[0] - 60)
        sending = asyncio.ensure_future(guarded._send_produce_req(3, {}))
        await asyncio.sleep(0)
        assert guarded.sent == []
        guarded.lease.renew(now[0])
        await sending
        assert guarded.sent == [3]

    async def test_ends_the_process_when_the_partitions_have_gone(self, guarded: Any, now: list[float]) -> None:
        guarded.lease.renew(now[0] - 60)
        guarded.app.rebalancing = True
        with pytest.raises(Ended, match=str(LEASE_LOST)):
            await guarded._send_produce_req(3, {})
        assert guarded.sent == []
