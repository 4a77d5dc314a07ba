"""The topics of stockstream: created when missing, checked when there, never altered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from stockstream.broker.connection import Connection
from stockstream.errors import BrokerUnreachable, StockstreamError, TopicMismatch

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
KEPT_7_DAYS = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)}
KEPT_30_DAYS = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}
COMPACTED = {"cleanup.policy": "compact"}

_REQUEST_TIMEOUT_MS = 8000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is created where it is missing."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


async def ensure_topics(
    connection: Connection, specs: Sequence[TopicSpec], replication: int, changelogs: Sequence[TopicSpec] = ()
) -> None:
    """Create what is missing and check the partition counts of what is there.

    ``changelogs`` are those of the tables: what they have tells with how many partitions candles were made so far.
    Raises `TopicMismatch` where counts differ, and `BrokerUnreachable`.
    """
    try:
        options = connection.aiokafka()
        admin = AIOKafkaAdminClient(request_timeout_ms=_REQUEST_TIMEOUT_MS, **options)
        await admin.start()
    except (KafkaError, OSError) as error:
        raise unreachable(connection, error) from error
    try:
        await _ensure(admin, specs, replication, changelogs)
    except KafkaError as error:
        raise unreachable(connection, error) from error
    finally:
        await admin.close()


def unreachable(connection: Connection, error: Exception) -> BrokerUnreachable:
    """What to tell a user whose brokers do not answer."""
    detail = str(error) or type(error).__name__
    return BrokerUnreachable(
        f"no Kafka broker answers at {connection.bootstrap_servers} ({detail}): start it, or set "
        "KAFKA_BOOTSTRAP_SERVERS (and the KAFKA_SASL_… and KAFKA_SSL_… settings if it is secured)"
    )


async def _ensure(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replication: int, changelogs: Sequence[TopicSpec]
) -> None:
    found = await partition_counts(admin)
    _check(specs, {spec.name: found[spec.name] for spec in changelogs if spec.name in found}, found)
    missing = [spec for spec in (*specs, *changelogs) if spec.name not in found]
    if not missing:
        return
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = min(replication, brokers)
    if copies < replication:
        log.warning("creating topics with %d copies instead of %d: there are no more brokers", copies, replication)
    reply = await admin.create_topics(
        [NewTopic(spec.name, spec.partitions, copies, topic_configs=dict(spec.config)) for spec in missing]
    )
    for name, code, *message in reply.topic_errors:
        # Another worker may have been faster.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise StockstreamError(f"cannot create topic {name}: {message[0] if message else for_code(code).__name__}")
    log.info("created topics %s", ", ".join(spec.name for spec in missing))


async def partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """The number of partitions of every topic there is."""
    names = await admin.list_topics()
    described = await admin.describe_topics(names) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


def _check(specs: Sequence[TopicSpec], changelogs: Mapping[str, int], found: Mapping[str, int]) -> None:
    for spec in specs:
        there = found.get(spec.name, spec.partitions)
        if there == spec.partitions:
            continue
        if changelogs and all(count == spec.partitions for count in changelogs.values()):
            raise TopicMismatch(
                f"topic {spec.name} has {there} partitions, but the stored candles were made with {spec.partitions}, "
                "and its symbols have moved: go on with a new STOCKSTREAM_APP_ID and "
                f"STOCKSTREAM_PARTITIONS={there}, or produce to a new topic of {spec.partitions}"
            )
        raise TopicMismatch(
            f"topic {spec.name} has {there} partitions instead of {spec.partitions}: set STOCKSTREAM_PARTITIONS="
            f"{there} if all tick topics have that many, else create it anew with {spec.partitions}"
        )
    for name, there in changelogs.items():
        if there != specs[0].partitions:
            raise TopicMismatch(
                f"the stored candles were made with {there} partitions ({name}), not {specs[0].partitions}: set "
                f"STOCKSTREAM_PARTITIONS={there}, or a new STOCKSTREAM_APP_ID to start candles anew"
            )
