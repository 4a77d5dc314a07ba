"""Leaves the group at once when a worker stops, also while the group is being joined anew.

aiokafka 0.14.0 would first wait until the join is over, which takes as long as its slowest member, and have partitions
assigned that nobody reads. It reaches into aiokafka: see ``tests/unit/test_private_names.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest

log = logging.getLogger(__name__)

_ANSWER_S = 2.0


async def stop_and_leave(consumer: Any, on_left: Callable[[], None]) -> None:
    """Stop a consumer of aiokafka; ``on_left`` is called once it is no member that others wait for.

    A static member, which has a name of its own, stays in the group until its session ends.
    """
    coordinator = consumer._coordinator
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.sleep(0)  # from here on it joins no more
    if _is_joining(coordinator):
        await _leave(consumer._client, coordinator)
    on_left()
    await stopping


def _is_joining(coordinator: Any) -> bool:
    subscription = coordinator._subscription.subscription
    is_member = coordinator.member_id != JoinGroupRequest.UNKNOWN_MEMBER_ID
    is_known = is_member and coordinator.coordinator_id is not None and coordinator._group_instance_id is None
    return is_known and subscription is not None and coordinator.need_rejoin(subscription)


async def _leave(client: Any, coordinator: Any) -> None:
    """Not by the coordinator's own connection: there it would be read only after the join was answered."""
    request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
    try:
        await asyncio.wait_for(client.send(coordinator.coordinator_id, request), _ANSWER_S)
    except (KafkaError, TimeoutError) as error:
        log.warning("group %s could not be left, it will wait for us: %r", coordinator.group_id, error)
