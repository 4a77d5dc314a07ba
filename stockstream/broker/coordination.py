"""A consumer's place in its group, through a cluster that knows of no broker for a moment and errors that end it.

It reaches into aiokafka 0.14.0: see ``tests/unit/test_private_names.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka.errors import GroupCoordinatorNotAvailableError


def look_again_for_coordinator(consumer: Any) -> None:
    """Have a ``consumer``, before it starts, look again for its group's coordinator in a cluster without brokers.

    A broker that has just started tells of none, not even of itself. aiokafka takes that for a mistake of its caller's
    and leaves the group for good, without a word to the one who reads.
    """
    client = consumer._client
    look_up = client.coordinator_lookup

    async def coordinator_lookup(kind: Any, key: Any) -> Any:
        if not client.cluster.brokers():
            raise GroupCoordinatorNotAvailableError
        return await look_up(kind, key)

    client.coordinator_lookup = coordinator_lookup


def watch_membership(consumer: Any, ended: Callable[[BaseException], None]) -> None:
    """Call ``ended``, in the consumer's loop, should an error end a started ``consumer``'s part in its group."""

    def done(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            ended(error)

    consumer._coordinator._coordination_task.add_done_callback(done)
