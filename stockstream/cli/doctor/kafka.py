"""What doctor asks of Kafka: the topics, how long they keep what has to be read, and the time. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from aiokafka import TopicPartition

from stockstream.adapters import connection_of, topics_of
from stockstream.broker.clock import clock_of
from stockstream.broker.connection import Connection
from stockstream.broker.spans import Span, spans_of
from stockstream.broker.topics import COMPACTED, TopicSpec, check, committed_by, configs_of, find_topics
from stockstream.cli.doctor.finding import Finding, all_checked, checked, spelled, told_of_clock
from stockstream.errors import StockstreamError
from stockstream.settings import Settings
from stockstream.tables import changelogs_of

_ALTER = "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {config}"
_FOR_EVER = -1


async def examine_kafka(settings: Settings) -> list[Finding]:
    """Whether brokers answer, and if they do, what there is to say of the topics and the clock."""
    counts: dict[str, int] = {}
    reached = await checked("Kafka", _reach(settings, counts))
    if not reached.is_good:
        return [reached]
    connection = connection_of(settings)
    checks = {
        "partitions": _partitions(settings, counts),
        "retention": _retention(settings, connection, counts),
        "unread ticks": _unread(settings, connection, counts),
        "clock of Kafka": _clock(settings, connection),
    }
    return [reached, *await all_checked(checks)]


async def _reach(settings: Settings, counts: dict[str, int]) -> str:
    counts |= await find_topics(connection_of(settings))
    topics = [settings.topic(name) for name in (*settings.tick_topics, "candles", "latest")]
    missing = [name for name in topics if name not in counts]
    made = f"; created at start: {', '.join(missing)}" if missing else ""
    return f"{settings.kafka_bootstrap_servers}, {len(topics) - len(missing)} of {len(topics)} topics{made}"


async def _partitions(settings: Settings, counts: Mapping[str, int]) -> str:
    changelogs = changelogs_of(settings.app_id)
    made = {name: counts[name] for name in changelogs if name in counts}
    if len(set(made.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in made.items())
        raise StockstreamError(
            f"the changelogs of the tables differ in their partitions ({told}), so rows of one symbol lie apart: begin "
            "anew with another STOCKSTREAM_APP_ID and a greater STOCKSTREAM_EPOCH"
        )
    check(topics_of(settings), [TopicSpec(name, settings.partitions, COMPACTED) for name in changelogs], counts)
    return f"{settings.partitions} everywhere" + (", as candles were made with" if made else "; no candles were made")


async def _retention(settings: Settings, connection: Connection, counts: Mapping[str, int]) -> str:
    ticks = [topic for topic in map(settings.topic, settings.tick_topics) if topic in counts]
    changelogs = [topic for topic in changelogs_of(settings.app_id) if topic in counts]
    if not ticks:
        return "no tick topic yet; those that are created keep 7 days"
    configs = await configs_of(connection, [*ticks, *changelogs])
    wrong = [*_badly_kept(settings, ticks, configs), *_deleted(changelogs, configs)]
    if wrong:
        raise StockstreamError("; ".join(wrong))
    return _kept(ticks, configs)


def _badly_kept(settings: Settings, topics: Sequence[str], configs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    least_ms = settings.retention_s * 1000
    for topic in topics:
        config = configs[topic]
        if "compact" in config.get("cleanup.policy", ""):
            command = _ALTER.format(topic=topic, config="cleanup.policy=delete")
            yield f"{topic} is compacted, which deletes all but the newest tick of a symbol: {command}"
        kept_ms = int(config.get("retention.ms", _FOR_EVER))
        if _FOR_EVER < kept_ms < least_ms:
            command = _ALTER.format(topic=topic, config=f"retention.ms={max(7 * 86_400_000, least_ms)}")
            yield (
                f"{topic} deletes ticks after {spelled(kept_ms)}, read or not, and rows are kept for "
                f"{spelled(least_ms)} (STOCKSTREAM_RETENTION_S): workers that are away for longer lose ticks, and rows "
                f"cannot be made again: {command}"
            )


def _deleted(changelogs: Sequence[str], configs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for topic in changelogs:
        if "delete" in configs[topic].get("cleanup.policy", ""):
            command = _ALTER.format(topic=topic, config="cleanup.policy=compact")
            yield f"{topic} deletes rows by their age, so a lost data folder would not come back whole: {command}"


def _kept(topics: Sequence[str], configs: Mapping[str, Mapping[str, str]]) -> str:
    kept = {topic: int(configs[topic]["retention.ms"]) for topic in topics if "retention.ms" in configs[topic]}
    if not kept:
        return "the brokers do not say how long they keep ticks: give the right to describe the topics' configuration"
    bounded = {topic: int(configs[topic].get("retention.bytes", _FOR_EVER)) for topic in kept}
    by_size = "".join(
        f"; {topic} keeps {each:,} bytes a partition, which may be less" for topic, each in bounded.items() if each >= 0
    )
    finite = {topic: kept_ms for topic, kept_ms in kept.items() if kept_ms >= 0}
    if not finite:
        return f"ticks are kept for ever{by_size}"
    first = min(finite, key=finite.__getitem__)
    return f"workers may be away for {spelled(finite[first])} before ticks of {first} are lost unread{by_size}"


async def _unread(settings: Settings, connection: Connection, counts: Mapping[str, int]) -> str:
    ticks = [topic for topic in map(settings.topic, settings.tick_topics) if topic in counts]
    candles = [topic for topic in (settings.topic("candles"),) if topic in counts]
    groups = {settings.app_id: ticks}
    if settings.sink_enabled:
        groups[f"{settings.app_id}-sink"] = candles + (ticks if settings.tick_archive else [])
    told: list[str] = []
    wrong: list[str] = []
    for group, topics in groups.items():
        committed = await committed_by(connection, group)
        places = [place for place in committed if place.topic in topics and place.partition < counts[place.topic]]
        if not places:
            told.append(f"{group} has read nothing yet")
            continue
        kept_ms = _finite(await configs_of(connection, topics))
        now_ms = time.time() * 1000
        since_ms = {place: max(0, int(now_ms - kept_ms.get(place.topic, now_ms) / 2)) for place in places}
        spans = await spans_of(connection, since_ms)
        wrong += _behind(group, committed, spans, kept_ms)
        unread = sum(max(0, spans[place].end - committed[place]) for place in places)
        told.append(f"{unread:,} of {group}")
    if wrong:
        raise StockstreamError("; ".join(wrong))
    return ", ".join(told)


def _finite(configs: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """How long topics keep records, ms, of those that do not keep them for ever."""
    kept = {topic: int(config.get("retention.ms", _FOR_EVER)) for topic, config in configs.items()}
    return {topic: kept_ms for topic, kept_ms in kept.items() if kept_ms >= 0}


def _behind(
    group: str,
    committed: Mapping[TopicPartition, int],
    spans: Mapping[TopicPartition, Span],
    kept_ms: Mapping[str, int],
) -> Iterator[str]:
    lost = sum(max(0, span.begin - committed[place]) for place, span in spans.items())
    if lost:
        yield (
            f"{lost:,} records were deleted before {group} read them: keep the topics for longer than workers are away "
            "(retention.ms), and bring back from the venue or the archive what is missing (stockstream replay)"
        )
    late = {place.topic for place, span in spans.items() if span.begin <= committed[place] < span.since}
    for topic in sorted(late & kept_ms.keys()):
        yield (
            f"{group} has left unread for {spelled(kept_ms[topic] / 2)} and more what {topic} deletes after "
            f"{spelled(kept_ms[topic])}: start workers, see why they do not go on (GET /health/ready), or raise "
            "retention.ms"
        )


async def _clock(settings: Settings, connection: Connection) -> str:
    reading = await clock_of(connection)
    if reading is None:
        return "not told: brokers do since Kafka 3.3, to those who may describe the cluster"
    return told_of_clock(settings, "Kafka's controller", reading)
