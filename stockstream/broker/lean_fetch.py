"""Has a consumer of aiokafka 0.14.0 hand over what it fetched of some topics as `Records`, without an object a record.

aiokafka goes on deciding what is fetched, whether an answer still fits the position that was asked for, and where
reading goes on: the fetcher's own code runs with a reader of ours in the place of two of its names. What it takes for
the one record of a fetch is the `Records` of all of it. And fetches are sent over connections of their own, and say how
long a broker may gather.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.consumer import fetcher as stock
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from stockstream.broker.pace import AT_ONCE, Pace
from stockstream.broker.record_batches import read_records
from stockstream.models.records import Records


def read_lean(consumer: Any, topics: Collection[str]) -> None:
    """Have a started consumer hand over a fetch of one of ``topics`` as one `Records`, whatever the limit of a poll.

    A damaged batch raises `CorruptRecordException` once all before it was handed over; the position stays before it.
    """
    fetcher = consumer._fetcher
    if fetcher._isolation_level != stock.READ_UNCOMMITTED:
        raise NotImplementedError("records of transactions that were aborted are not told from others")
    handle = stock.Fetcher._proc_fetch_request
    names = {
        **handle.__globals__,
        "MemoryRecords": _Raw,
        "PartitionRecords": partial(_partition_records, topics),
    }
    fetcher._proc_fetch_request = MethodType(FunctionType(handle.__code__, names), fetcher)


def fetch_apart(consumer: Any, pace: Callable[[], Pace] | None = None) -> None:
    """Have a started consumer's fetches use connections that carry nothing else, and go at a ``pace`` or at its own.

    A broker answers the requests of a connection in turn: what a new owner of partitions asks first, where they begin
    and end, would each time wait for as long as brokers gather ticks. With a ``pace``, after an answer without records
    the broker is asked for the next one `AT_ONCE`, so that it is not asked again and again for nothing.
    """
    consumer._fetcher._client = _FetchClient(consumer._client, pace)


class _FetchClient:
    """aiokafka's client, for its fetcher."""

    _GROUP = max(ConnectionGroup) + 1

    def __init__(self, client: Any, pace: Callable[[], Pace] | None) -> None:
        self._client = client
        self._pace = pace
        self._quiet: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._client.send(node_id, request, group=ConnectionGroup.DEFAULT)
        if self._pace is not None:
            pace = AT_ONCE if node_id in self._quiet else self._pace()
            request._min_bytes, request._max_wait_ms = pace.min_bytes, pace.max_wait_ms
        answer = await self._client.send(node_id, request, group=self._GROUP)
        if any(partition[-1] for _, partitions in answer.topics for partition in partitions):
            self._quiet.discard(node_id)
        else:
            self._quiet.add(node_id)
        return answer


class _Raw:
    """What the fetcher asks of an answer's record batches, with their bytes kept."""

    def __init__(self, data: bytes) -> None:
        reader = MemoryRecords(data)
        self.data = data
        self.has_next, self.next_batch, self.size_in_bytes = reader.has_next, reader.next_batch, reader.size_in_bytes


def _partition_records(topics: Collection[str], tp: Any, records: _Raw, *others: Any) -> Any:
    if tp.topic not in topics:
        return stock.PartitionRecords(tp, records, *others)
    return _FetchedRecords(tp, records.data, *others)


class _FetchedRecords:
    """Takes the place of ``PartitionRecords``: iterating gives one `Records`, or nothing, and moves the position."""

    def __init__(
        self,
        tp: Any,
        data: bytes,
        aborted_transactions: Any,
        fetch_offset: int,
        key_deserializer: Any,
        value_deserializer: Any,
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        self.next_fetch_offset = fetch_offset
        self._tp, self._data, self._check_crcs = tp, data, check_crcs

    def __iter__(self) -> Iterator[Records]:
        try:
            records, position = read_records(self._data, self.next_fetch_offset, check_crcs=self._check_crcs)
        except CorruptRecordException as error:
            self._data = b""  # so that whoever asks again has it fetched again
            where = f"{self._tp.topic}-{self._tp.partition} cannot be read from offset {self.next_fetch_offset} on"
            raise CorruptRecordException(f"{where}: {error.args[0]}") from error
        self.next_fetch_offset = position
        if records is not None:
            yield records
