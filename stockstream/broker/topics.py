"""The topics of stockstream: created when missing, checked when there, never altered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import refused, unreachable
from stockstream.errors import StockstreamError, TopicMismatch

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
KEPT_7_DAYS = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)}
KEPT_30_DAYS = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}
COMPACTED = {"cleanup.policy": "compact"}

_COMMITS = "__consumer_offsets"
_CONTACT_TIMEOUT_S = 5.0
_REQUEST_TIMEOUT_MS = 20_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is created where it is missing.

    One that is there must have exactly ``partitions``, or with ``at_least`` no fewer than that.
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    at_least: int | None = None


async def ensure_topics(
    connection: Connection, specs: Sequence[TopicSpec], replication: int, changelogs: Sequence[TopicSpec] = ()
) -> None:
    """Create what is missing and check the partition counts of what is there.

    ``changelogs`` are those of the tables: what they have tells with how many partitions candles were made so far.
    Raises `TopicMismatch` where counts differ, and within some seconds `BrokerUnreachable` or `BrokerRefused`.
    """
    async with _admin(connection) as (admin, found):
        check(specs, changelogs, found)
        missing = [spec for spec in (*specs, *changelogs) if spec.name not in found]
        if missing:
            await _create(admin, missing, replication)


async def find_topics(connection: Connection) -> dict[str, int]:
    """The partition counts of all topics; raises `BrokerUnreachable` or `BrokerRefused` within some seconds."""
    async with _admin(connection) as (_, found):
        return found


async def configs_of(connection: Connection, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings of these topics, by name; empty where the brokers do not say. Raises as above."""
    async with _admin(connection) as (admin, _):
        return await _configs(admin, topics)


async def retention_of(connection: Connection, topic: str) -> int | None:
    """How long ``topic`` keeps a record, ms; -1 is for ever, None that the brokers do not say. Raises as above."""
    kept = (await configs_of(connection, [topic]))[topic].get("retention.ms")
    return None if kept is None else int(kept)


async def committed_by(connection: Connection, group: str) -> dict[TopicPartition, int]:
    """What a consumer group reads next, where it has committed anything. Raises as above."""
    async with _admin(connection) as (admin, found):
        return await _commits(admin, found, group)


@dataclass(frozen=True, slots=True)
class Kept:
    """A topic that a consumer group reads: how long it keeps records (-1 is for ever), and the group's commits."""

    group: str
    topic: str
    partitions: int
    retention_ms: int
    committed: Mapping[int, int]


async def kept_of(connection: Connection, groups: Mapping[str, Sequence[str]]) -> list[Kept]:
    """What these groups have committed of topics, and how long those keep records; what is not there is left out.

    Raises as above.
    """
    async with _admin(connection) as (admin, found):
        kept = []
        for group, topics in groups.items():
            configs = await _configs(admin, [topic for topic in topics if topic in found])
            commits = await _commits(admin, found, group)
            for topic, config in configs.items():
                if "retention.ms" in config:
                    committed = {place.partition: offset for place, offset in commits.items() if place.topic == topic}
                    kept.append(Kept(group, topic, found[topic], int(config["retention.ms"]), committed))
    return kept


async def _configs(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    replies = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics])
    return {
        topic: {name: value for name, value, *_ in entries if value is not None}
        for reply in replies
        for _, _, _, topic, entries in reply.resources
    }


async def _commits(admin: AIOKafkaAdminClient, found: Mapping[str, int], group: str) -> dict[TopicPartition, int]:
    if _COMMITS not in found:  # to ask for a group would make it
        return {}
    committed = await admin.list_consumer_group_offsets(group)
    return {place: at.offset for place, at in committed.items() if at.offset >= 0}


def key_partition(key: bytes, partitions: int) -> int:
    """The partition of a key by murmur2, the partitioner of all our producers."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


@asynccontextmanager
async def _admin(connection: Connection) -> AsyncIterator[tuple[AIOKafkaAdminClient, dict[str, int]]]:
    """A client that has found its brokers, and the partition counts of what they have."""
    with _overheard() as reasons:
        admin = AIOKafkaAdminClient(request_timeout_ms=_REQUEST_TIMEOUT_MS, **connection.aiokafka())
        try:
            async with asyncio.timeout(_CONTACT_TIMEOUT_S):
                await admin.start()
                found = await _partition_counts(admin)
            yield admin, found
        except TimeoutError as error:
            away = unreachable(connection, f"nothing within {_CONTACT_TIMEOUT_S:g} s")
            raise refused(connection, reasons) or away from error
        except (KafkaError, OSError) as error:
            away = unreachable(connection, reasons[-1] if reasons else error)
            raise refused(connection, [*reasons, error]) or away from error
        finally:
            await admin.close()


class _Listener(logging.Handler):
    def __init__(self, heard: list[Exception | str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        reason = record.args[-1] if isinstance(record.args, tuple) and record.args else record.getMessage()
        self._heard.append(reason if isinstance(reason, Exception) else str(reason))


@contextmanager
def _overheard() -> Iterator[list[Exception | str]]:
    """Keep to ourselves what aiokafka logs: the reason why a broker is not to be had is only there."""
    logger = logging.getLogger("aiokafka")
    heard: list[Exception | str] = []
    listener = _Listener(heard)
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.propagate = True
        logger.removeHandler(listener)


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[TopicSpec], replication: int) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = min(replication, brokers)
    if copies < replication:
        log.warning("creating topics with %d copies instead of %d: there are no more brokers", copies, replication)
    reply = await admin.create_topics(
        [NewTopic(spec.name, spec.partitions, copies, topic_configs=dict(spec.config)) for spec in missing]
    )
    created = []
    for name, code, *message in reply.topic_errors:
        if code == 0:
            created.append(name)
        elif code != TopicAlreadyExistsError.errno:  # another worker may have been faster
            raise StockstreamError(f"cannot create topic {name}: {message[0] if message else for_code(code).__name__}")
    if created:
        log.info("created topics %s", ", ".join(created))


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    names = await admin.list_topics()
    described = await admin.describe_topics(names) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


def check(specs: Sequence[TopicSpec], changelogs: Sequence[TopicSpec], found: Mapping[str, int]) -> None:
    """Raise `TopicMismatch` if the partition counts in ``found`` are not those wanted, or candles had others."""
    made = next((found[spec.name] for spec in changelogs if spec.name in found), None)
    for spec in specs:
        there = found.get(spec.name)
        if spec.at_least is not None:
            if there is not None and there < spec.at_least:
                raise TopicMismatch(
                    f"topic {spec.name} has {there} partitions, but must have {spec.at_least}, as the tick topics do: "
                    f"give it more (kafka-topics.sh --alter --topic {spec.name} --partitions {spec.at_least})"
                )
        elif made is not None:
            _check_against_candles(spec, there, made)
        elif there is not None and there != spec.partitions:
            raise TopicMismatch(
                f"topic {spec.name} has {there} partitions instead of {spec.partitions}: set STOCKSTREAM_PARTITIONS="
                f"{there} if all tick topics have that many, else create it anew with {spec.partitions}"
            )


def _check_against_candles(spec: TopicSpec, there: int | None, made: int) -> None:
    if there is not None and there != made:
        raise TopicMismatch(
            f"topic {spec.name} has {there} partitions, but candles were made with {made}, and its symbols have moved "
            f"to others: create it anew with {made} and a greater STOCKSTREAM_EPOCH, or copy it into a new topic of "
            f"{there} and go on there with STOCKSTREAM_TICK_TOPICS, STOCKSTREAM_PARTITIONS={there}, a new "
            "STOCKSTREAM_APP_ID and a greater STOCKSTREAM_EPOCH"
        )
    if spec.partitions != made:
        raise TopicMismatch(
            f"candles were made with {made} partitions, not {spec.partitions}: set STOCKSTREAM_PARTITIONS={made}, or "
            "to start anew another STOCKSTREAM_APP_ID and other STOCKSTREAM_TICK_TOPICS"
        )
