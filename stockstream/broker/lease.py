"""The lease: no byte leaves for a broker after the group may have given our partitions away (a paused process).

It reaches into aiokafka 0.14.0: see ``tests/unit/test_private_names.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from stockstream.errors import LEASE_LOST

log = logging.getLogger(__name__)


class Lease:
    """Until when the broker surely counts this process in its group, by the steady clock."""

    def __init__(self, session_s: float) -> None:
        """``session_s`` is the group's session timeout. Free until the group has been joined."""
        self._session_s = session_s
        self._until = float("inf")

    def holds(self) -> bool:
        """Whether what is sent now is still ours to send."""
        return time.monotonic() < self._until

    def renew(self, sent: float) -> None:
        """A request sent at ``sent`` proved to the broker that we live."""
        self._until = sent + self._session_s


def watch_heartbeats(coordinator: Any, lease: Lease) -> None:
    """Renew the lease whenever the group's ``coordinator`` answers a heartbeat or a join."""
    beat, rejoin = coordinator._do_heartbeat, coordinator._do_rejoin_group

    async def do_heartbeat() -> Any:
        sent = time.monotonic()
        alive = await beat()
        if alive:
            lease.renew(sent)
        return alive

    async def do_rejoin_group(subscription: Any) -> Any:
        joined = await rejoin(subscription)
        if joined:
            # The broker counts from its answer to the join, which lies before the sync that ended just now; half a
            # session is more than the sync may take (the request would have timed out).
            lease.renew(time.monotonic() - lease._session_s / 2)
        return joined

    coordinator._do_heartbeat, coordinator._do_rejoin_group = do_heartbeat, do_rejoin_group


def guard_sends(sender: Any, lease: Lease, app: Any) -> None:
    """Have a producer's ``sender`` send only while the lease holds; ends the process once the group has gone on."""
    send = sender._send_produce_req

    async def send_produce_req(node_id: int, batches: Any) -> Any:
        while not lease.holds():
            if app.rebalancing:
                # Not a crash of the app: stopping it would flush the producer, and those bytes are not ours any more.
                log.critical("put out of the group while writing; ending, to be started again")
                os._exit(LEASE_LOST)
            await asyncio.sleep(0.05)
        return await send(node_id, batches)

    sender._send_produce_req = send_produce_req
