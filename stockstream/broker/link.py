"""One connection to a broker, for produce requests only, and nothing between its socket and their answers.

aiokafka connects: it knows how to encrypt, authenticate and agree on versions. Then its transport is taken over. Its
own way of sending passes each request through several tasks, futures and timers, which costs more than the records.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

from aiokafka.conn import create_conn
from aiokafka.errors import UnsupportedVersionError

_API_KEY, _API_VERSION = 0, 7  # a produce request, as Kafka 2.1 and all later brokers understand it
Acks = Literal["all", "1", "0"]
"""How many replicas have a batch before it counts as written: all in sync, the leader, or nobody knows."""
_ACKS: dict[Acks, int] = {"all": -1, "1": 1, "0": 0}
_CLIENT_ID = b"stockstream"
_SIZE = struct.Struct(">i")
_PARTITION = struct.Struct(">ii")
_ANSWER = struct.Struct(">ihqqq")
_TOPIC_AT = 8  # in an answer, after its correlation id and the number of topics

Answers = list[tuple[int, int]]
"""Partitions, each with Kafka's error code for its batch, 0 for none."""


class Link(asyncio.Protocol):
    """Sends batches for ``topic`` to one broker, which answers when as many replicas have them as ``acks`` says.

    ``on_answer`` is called with the partitions of a request and their error codes; ``on_lost`` with the partitions that
    nothing will be heard of any more. Without acks a broker answers nothing: a batch counts as written once it has left
    for the socket and that takes more.
    """

    def __init__(
        self,
        topic: str,
        timeout_ms: int,
        *,
        acks: Acks = "all",
        on_answer: Callable[[Answers], None],
        on_lost: Callable[[Link, list[int]], None],
    ) -> None:
        name = topic.encode()
        self._before = struct.pack(f">h{len(_CLIENT_ID)}s", len(_CLIENT_ID), _CLIENT_ID) + struct.pack(
            f">hhiih{len(name)}s", -1, _ACKS[acks], timeout_ms, 1, len(name), name
        )
        self._partitions_at = _TOPIC_AT + 2 + len(name)
        self._on_answer, self._on_lost = on_answer, on_lost
        self._under_way: deque[tuple[int, list[int], float]] = deque()
        self._is_answered = acks != "0"
        self._is_full = False
        self._unanswered: list[int] = []
        self._number = 0
        self._rest = b""
        self._connection: Any = None
        self._protocol: Any = None
        self._transport: Any = None

    async def open(self, host: str, port: int, options: Mapping[str, Any]) -> None:
        """Connect, with ``options`` as aiokafka's connections take them; raises `OSError` or `KafkaError`."""
        connection = await create_conn(host, port, **options)
        first, last = connection._versions.get(_API_KEY, (0, 0))
        if not first <= _API_VERSION <= last:
            connection.close()
            raise UnsupportedVersionError(f"the broker takes versions {first} to {last} of produce requests")
        connection._read_task.cancel()
        self._connection, self._protocol = connection, connection._protocol
        self._transport = connection._writer.transport
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether batches can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def oldest_s(self) -> float | None:
        """The steady time (s) at which the oldest request was sent that is not answered."""
        return self._under_way[0][2] if self._under_way else None

    def send(self, batches: Iterable[tuple[int, bytes]]) -> None:
        """Send a batch for each of some partitions, in one request."""
        self._number = (self._number + 1) & 0x7FFFFFFF
        partitions: list[int] = []
        parts = [b"", b"", self._before, b""]
        for partition, batch in batches:
            partitions.append(partition)
            parts.append(_PARTITION.pack(partition, len(batch)))
            parts.append(batch)
        parts[1] = struct.pack(">hhi", _API_KEY, _API_VERSION, self._number)
        parts[3] = _SIZE.pack(len(partitions))
        parts[0] = _SIZE.pack(sum(map(len, parts)))
        if self._is_answered:
            self._under_way.append((self._number, partitions, time.monotonic()))
        self._transport.write(b"".join(parts))
        if not self._is_answered:
            self._unanswered += partitions
            if not self._is_full:
                asyncio.get_running_loop().call_soon(self._count_as_written)

    def pause_writing(self) -> None:
        """The broker takes bytes slower than they come."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_full = False
        self._count_as_written()

    def abort(self) -> None:
        """Cut the connection off, if it is open."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close in good order."""
        if self._connection is not None:
            closed = self._connection.close()
            if closed is not None:
                await closed

    def data_received(self, data: bytes) -> None:
        """Bytes from the broker."""
        if self._rest:
            data = self._rest + data
        at = 0
        while len(data) - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(data, at)
            end = at + _SIZE.size + size
            if end > len(data):
                break
            self._answered(data[at + _SIZE.size : end])
            at = end
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._protocol.connection_lost(exc)
        self._connection.close()
        lost = [partition for _, partitions, _ in self._under_way for partition in partitions]
        self._under_way.clear()
        lost += self._unanswered
        self._unanswered = []
        self._on_lost(self, lost)

    def _count_as_written(self) -> None:
        partitions, self._unanswered = self._unanswered, []
        if partitions:
            self._on_answer([(partition, 0) for partition in partitions])

    def _answered(self, answer: bytes) -> None:
        (number,) = _SIZE.unpack_from(answer)
        if not self._under_way or self._under_way[0][0] != number:
            self.abort()  # whatever this is an answer to, the rest of what comes is of no use either
            return
        self._under_way.popleft()
        (count,) = _SIZE.unpack_from(answer, self._partitions_at)
        at = self._partitions_at + _SIZE.size
        entries = _ANSWER.iter_unpack(answer[at : at + count * _ANSWER.size])
        self._on_answer([cast(tuple[int, int], entry[:2]) for entry in entries])
