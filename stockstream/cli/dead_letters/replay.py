"""Letters sent back to the topics that they came from, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import unreachable
from stockstream.broker.snapshot import open_snapshot, topics_now
from stockstream.broker.topics import key_partition
from stockstream.cli.dead_letters.advice import Outlook
from stockstream.cli.dead_letters.letters import Filter, Letter, read_letters
from stockstream.cli.ending import Ending
from stockstream.cli.place import Place
from stockstream.cli.progress import progress
from stockstream.errors import BrokerUnreachable

HEADER = "dead-letter"
"""The header of a record that was replayed: the place where it first lay, as `Place` writes it."""

_AT_ONCE = 500
_TIMEOUT_S = 30.0
_START_S = 10.0
_CLOCK_SKEW_MS = 60_000
_GREATEST_BYTES = 16_000_000

_Identity = tuple[Place, bytes | None]


@dataclass(slots=True)
class Plan:
    """What a replay comes to: ``ready`` to be sent, oldest first; ``done`` before; ``refused``, by why."""

    ready: list[Letter] = field(default_factory=list)
    done: int = 0
    refused: dict[str, list[Letter]] = field(default_factory=dict)

    def refuse(self, letter: Letter, why: str) -> None:
        """Do not replay a letter."""
        self.refused.setdefault(why, []).append(letter.without_value())


async def plan_replay(connection: Connection, topic: str, chosen: Filter, limit: int | None, outlook: Outlook) -> Plan:
    """Judge the letters that are meant, the newest ``limit`` of them.

    A letter counts as replayed if its topic holds a record with its bytes and its first place in the header. The topics
    are read for that from the time on at which the oldest of the letters was put away. Raises `BrokerUnreachable`,
    `InvalidInput` for a missing topic of letters, and `StockstreamError` where a registry is needed and away.
    """
    found, plan = await topics_now(connection), Plan()
    candidates: dict[_Identity, Letter] = {}
    letters = [letter async for letter in read_letters(connection, topic, chosen)]
    letters.sort(key=_age)
    for letter in letters if limit is None else letters[-limit:]:
        if letter.origin.topic not in found:
            plan.refuse(letter, f"topic {letter.origin.topic} does not exist: create it, or start a worker that does")
            continue
        await outlook.prepare(letter)
        why = outlook.refusal(letter)
        if why is not None:
            plan.refuse(letter, why)
        else:
            candidates.setdefault((letter.origin, letter.value), letter)
    replayed = await _replayed(connection, found, candidates.values())
    plan.ready = [letter for identity, letter in candidates.items() if identity not in replayed]
    plan.done = len(candidates) - len(plan.ready)
    return plan


async def send(connection: Connection, letters: Sequence[Letter]) -> tuple[int, int]:
    """Write the original keys and values, in order; how many are written, and the exit code.

    A signal ends it after those that are under way. Raises `BrokerUnreachable`: to run the same again is safe.
    """
    ending, sent = Ending(), 0
    producer = AIOKafkaProducer(
        **connection.aiokafka(), acks="all", enable_idempotence=True, max_request_size=_GREATEST_BYTES
    )
    try:
        try:
            await asyncio.wait_for(producer.start(), _START_S)
        except (KafkaError, OSError, TimeoutError) as error:
            raise unreachable(connection, error) from error
        with progress("replaying", len(letters)) as told:
            for first in range(0, len(letters), _AT_ONCE):
                if ending.asked.is_set():
                    break
                some = letters[first : first + _AT_ONCE]
                try:
                    async with asyncio.timeout(_TIMEOUT_S):
                        await asyncio.gather(*[await _one(producer, letter) for letter in some])
                except (KafkaError, TimeoutError) as error:
                    raise BrokerUnreachable(
                        f"{sent:,} of {len(letters):,} letters are written, and maybe some more ({error!r}): run it "
                        "again, which writes none twice"
                    ) from error
                sent += len(some)
                told(sent)
    finally:
        await producer.stop()
    return sent, ending.code


async def _one(producer: AIOKafkaProducer, letter: Letter) -> asyncio.Future[object]:
    partition = _partition(letter, len(await producer.partitions_for(letter.origin.topic)))
    future: asyncio.Future[object] = await producer.send(
        letter.origin.topic, letter.value, letter.key, partition, headers=[(HEADER, str(letter.origin).encode())]
    )
    return future


def _partition(letter: Letter, partitions: int) -> int:
    """The one that its key fell on, whatever partitioner its producer had; by ours where that is gone."""
    if 0 <= letter.origin.partition < partitions:
        return letter.origin.partition
    return key_partition(letter.key or b"", partitions)


async def _replayed(connection: Connection, found: Mapping[str, int], letters: Iterable[Letter]) -> set[_Identity]:
    """Which of them lie in their topics again."""
    by_topic: dict[str, list[Letter]] = {}
    for letter in letters:
        by_topic.setdefault(letter.origin.topic, []).append(letter)
    replayed: set[_Identity] = set()
    for topic, some in by_topic.items():
        partitions = {_partition(letter, found[topic]) for letter in some}
        since_ms = min(letter.put_away_ms for letter in some) - _CLOCK_SKEW_MS
        places = {str(letter.origin).encode(): letter.origin for letter in some}
        async with open_snapshot(connection, topic, since_ms=since_ms, partitions=partitions) as snapshot:
            with progress(f"looking for what was replayed in {topic}", snapshot.total) as told:
                async for records in snapshot.batches():
                    for record in records:
                        for name, text in record.headers:
                            if name == HEADER and text in places:
                                replayed.add((places[text], record.value))
                    told(snapshot.done)
    return replayed


def _age(letter: Letter) -> tuple[int, Place]:
    return letter.put_away_ms, letter.place
