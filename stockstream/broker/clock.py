"""The time that the brokers have, asked for without writing anything.

No request of Kafka's tells the time as such. The description of the controllers' quorum tells when each of them was
heard last, and of the leader, which tells it, that is the moment of the answer (Kafka 3.3 and newer).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import unreachable

_TIMEOUT_S = 7.0
_LOG = "__cluster_metadata"
_TAGS = ("tags", TaggedFields)
_REPLICAS = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    _TAGS,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How far another clock is ahead of ours, ms, give or take ``error_ms``."""

    ahead_ms: float
    error_ms: float

    @classmethod
    def taken(cls, theirs_ms: int, asked_ns: int, answered_ns: int) -> Reading:
        """Of the time in an answer, and ours before and after it."""
        return cls(theirs_ms - (asked_ns + answered_ns) / 2e6, (answered_ns - asked_ns) / 2e6)


class _QuorumResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _QuorumStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 55
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _QuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition_index", Int32), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _Quorum(Request[_QuorumStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 55

    def build(self, request_struct_class: type[_QuorumStruct]) -> _QuorumStruct:
        return request_struct_class([(_LOG, [(0, {})], {})], {})


async def clock_of(connection: Connection) -> Reading | None:
    """How far the clock of Kafka's controller is ahead of ours; None if the brokers do not tell.

    Older ones do not, nor do those that want the right to describe the cluster for it. Raises `BrokerUnreachable`.
    """
    client = AIOKafkaClient(**connection.aiokafka())
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await client.bootstrap()
            node = client.get_random_node()
            await client.ready(node)  # what it takes to connect is no part of the answer's way
            asked_ns = time.time_ns()
            try:
                answer = await client.send(node, _Quorum())
            except (IncompatibleBrokerVersion, NotImplementedError):
                return None
            return _read(answer, asked_ns, time.time_ns())
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreachable(connection, error) from error
    finally:
        await client.close()


def _read(answer: Any, asked_ns: int, answered_ns: int) -> Reading | None:
    for _, partitions, _ in answer.topics:
        for _, _, leader, _, _, voters, _, _ in partitions:
            for replica, _, heard_ms, _, _ in voters:
                if replica == leader and heard_ms > 0:
                    return Reading.taken(heard_ms, asked_ns, answered_ns)
    return None
