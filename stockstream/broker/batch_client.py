"""Record batches to the leaders of a topic's partitions: idempotent, acknowledged by all replicas, sent until they are.

One batch of a partition is under way at a time. It is sent again, byte for byte, after whatever Kafka calls retriable
and after every lost connection, however long that takes: its producer id and sequence number let the broker see that it
has it already. Any other refusal ends this client; records go on with a new one, from a new producer id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from stockstream.broker.link import Acks, Answers, Link
from stockstream.core.backoff import full_jitter

log = logging.getLogger(__name__)

Record = tuple[bytes, bytes, float]
"""Key, value, and the steady time (s) at which it was accepted."""

BATCH_BYTES = 400_000
_REQUEST_TIMEOUT_MS = 10_000
_WATCH_EVERY_S = 1.0
_METADATA_S = 5.0
_MAGIC = 2
_COMPRESSIONS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_SEQUENCES = 2**31
_DUPLICATE = 46  # of a batch that was sent again: the first one had arrived
_RETRIABLE = {13, 56}  # a network's exception, a storage's error: unknown to aiokafka
_NO_LEADER = -1


class BatchClient:
    """Takes records of one topic to Kafka.

    ``options`` are those of `Connection.aiokafka`. A batch has at most ``batch_bytes`` before it is compressed, or one
    record. With ``acks`` 0 it has no sequence number: the broker would refuse all that follows one that was lost.
    ``on_acknowledged`` is called with the partitions whose batch has been written; ``on_failed`` once, with what makes
    this client useless.
    """

    def __init__(
        self,
        options: dict[str, Any],
        topic: str,
        *,
        compression: str | None,
        batch_bytes: int = BATCH_BYTES,
        acks: Acks = "all",
        on_acknowledged: Callable[[list[int]], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._topic = topic
        self._compression = _COMPRESSIONS[compression]
        self._batch_bytes, self._acks = batch_bytes, acks
        self._on_acknowledged, self._on_failed = on_acknowledged, on_failed
        self._client = AIOKafkaClient(**options, request_timeout_ms=_REQUEST_TIMEOUT_MS)
        self._link_options = {
            **{name: value for name, value in options.items() if name != "bootstrap_servers"},
            "request_timeout_ms": _REQUEST_TIMEOUT_MS,
        }
        self._producer_id, self._epoch = -1, -1
        self._sequences: dict[int, int] = {}
        self._batches: dict[int, bytes] = {}
        self._taken: list[int] = []
        self._strays: set[int] = set()
        self._links: dict[int, Link] = {}
        self._leaders: dict[int, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovering: asyncio.Task[None] | None = None
        self._is_over = False

    async def start(self) -> set[int]:
        """Connect; the topic's partitions. Raises `KafkaError` or `OSError`; for a topic that is missing, waits."""
        await self._client.bootstrap()
        await self._client.set_topics([self._topic])
        while (partitions := self._client.cluster.partitions_for_topic(self._topic)) is None:
            await asyncio.sleep(0.1)
            await self._client.force_metadata_update()
        while self._acks != "0":
            request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
            answer = await self._client.send(self._client.get_random_node(), request)
            error = for_code(answer.error_code)
            if not answer.error_code:
                self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
                break
            if not error.retriable:
                raise error()
            await asyncio.sleep(0.1)
        unanswering: set[int] = set()
        for partition in partitions:
            await self._find_leader(partition, unanswering)
        self._spawn(self._watch())
        return set(partitions)

    def take(self, partition: int, waiting: deque[Record], now_ms: int) -> list[Record]:
        """Make a partition's next batch of as much as fits of what waits, which is removed from there and returned.

        There must be no batch of that partition under way.
        """
        sequence = -1 if self._acks == "0" else self._sequences.get(partition, 0)
        builder = DefaultRecordBatchBuilder(
            _MAGIC, self._compression, 0, self._producer_id, self._epoch, sequence, self._batch_bytes
        )
        taken: list[Record] = []
        while waiting:
            key, value, _ = waiting[0]
            if builder.append(len(taken), now_ms, key, value, []) is None:
                break
            taken.append(waiting.popleft())
        self._sequences[partition] = (sequence + len(taken)) % _SEQUENCES
        self._batches[partition] = bytes(builder.build())
        self._taken.append(partition)
        return taken

    def send(self) -> None:
        """Send what was taken, in one request for each leader."""
        partitions, self._taken = self._taken, []
        self._send(partitions)

    async def stop(self) -> None:
        """Leave; what is not acknowledged may or may not be written."""
        self._is_over = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._links.values():
            link.abort()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._client.close()

    def _send(self, partitions: Iterable[int]) -> None:
        batches: dict[Link, list[tuple[int, bytes]]] = {}
        for partition in partitions:
            link = self._leaders.get(partition)
            if link is None:
                self._retry([partition])
            elif link in batches:
                batches[link].append((partition, self._batches[partition]))
            else:
                batches[link] = [(partition, self._batches[partition])]
        for link, some in batches.items():
            if link.is_open:
                link.send(some)
            else:
                self._retry([partition for partition, _ in some])

    def _answered(self, answers: Answers) -> None:
        written, strays, refused = [], [], None
        for partition, code in answers:
            if not code or code == _DUPLICATE:
                written.append(partition)
                continue
            error = for_code(code)
            if not (error.retriable or code in _RETRIABLE):
                refused = error()
                continue
            log.warning("topic %s: partition %d: %s; sending again", self._topic, partition, error.__name__)
            self._leaders.pop(partition, None)
            strays.append(partition)
        if written and not self._is_over:
            for partition in written:
                del self._batches[partition]
            self._on_acknowledged(written)
        if refused is not None:
            self._fail(refused)
        elif strays:
            self._retry(strays)

    def _lost(self, link: Link, partitions: list[int]) -> None:
        if self._is_over:
            return
        self._links = {node: each for node, each in self._links.items() if each is not link}
        self._leaders = {partition: each for partition, each in self._leaders.items() if each is not link}
        if partitions:
            log.warning("topic %s: the connection to a broker was lost; sending again", self._topic)
            self._retry(partitions)

    def _fail(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_failed(error)

    def _retry(self, partitions: Iterable[int]) -> None:
        """These find their leaders in their own time."""
        if self._is_over:
            return
        self._strays.update(partitions)
        if self._recovering is None or self._recovering.done():
            self._recovering = self._spawn(self._recover())

    async def _recover(self) -> None:
        for delay_s in full_jitter(0.05, 1.0, random.Random()):  # noqa: S311 - jitter is no secret
            await asyncio.sleep(delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._client.force_metadata_update(), _METADATA_S)
            unanswering: set[int] = set()
            found = [partition for partition in sorted(self._strays) if await self._find_leader(partition, unanswering)]
            self._strays.difference_update(found)
            self._send(found)
            if not self._strays:
                return

    async def _find_leader(self, partition: int, unanswering: set[int]) -> bool:
        """Whether a partition's leader is known and connected; brokers that are found ``unanswering`` are put there."""
        node = self._client.cluster.leader_for_partition(TopicPartition(self._topic, partition))
        broker = None if node in (None, _NO_LEADER) else self._client.cluster.broker_metadata(node)
        if broker is None or node in unanswering:
            return False
        link = self._links.get(node)
        if link is None or not link.is_open:
            link = Link(self._topic, _REQUEST_TIMEOUT_MS, acks=self._acks, on_answer=self._answered, on_lost=self._lost)
            try:
                await link.open(broker.host, broker.port, self._link_options)
            except (KafkaError, OSError) as error:
                log.warning("topic %s: broker %s does not answer: %r", self._topic, node, error)
                unanswering.add(node)
                return False
            self._links[node] = link
        self._leaders[partition] = link
        return True

    async def _watch(self) -> None:
        """Give up connections on which an answer is overdue."""
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            overdue_s = time.monotonic() - 1.5 * _REQUEST_TIMEOUT_MS / 1000
            for link in list(self._links.values()):
                if link.oldest_s is not None and link.oldest_s < overdue_s:
                    log.warning("topic %s: a broker has not answered for long: connecting again", self._topic)
                    link.abort()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fail(error)
