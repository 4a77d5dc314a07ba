"""``make release-data``: what a worker of this version leaves behind, for those of later versions to take over.

It is run at a release, once, and its folder is committed: see docs/releasing.md.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from reference import CandleKey, Reference, assert_as_in, reference_candles, venue_of
from released import ticks
from released.data import (
    Placed,
    Release,
    away_file,
    later_file,
    pack,
    topic_file,
    write_candles,
    write_records,
    write_schemas,
)
from released.system import ReleasedSystem

from stockstream.broker.connection import Connection
from stockstream.broker.topics import committed_by, configs_of
from stockstream.calendars import calendars_in
from stockstream.codecs import Encoder, Registry, TickDecoder
from stockstream.core.verdict import Policy
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Candle, Tick, Verdict
from stockstream.sources.catalog import calendar_of
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer

APP_ID, PREFIX, PARTITIONS = "released", "released-", 2
NOWHERE = "http://127.0.0.1:1"
_FETCH = 9  # so few that rows are stored in many states


def main() -> None:
    """Write the folder of this version's data."""
    release = Release(version("stockstream"), _commit(), APP_ID, PREFIX, PARTITIONS, list(ticks.TOPICS), {}, [])
    shutil.rmtree(release.folder, ignore_errors=True)
    with (
        KafkaCluster(kafka_libs()) as kafka,
        RegistryServer(registry_home()) as registry,
        ReleasedSystem(release, kafka.bootstrap, registry.url, NOWHERE, sink_enabled="false") as system,
    ):
        _make(release, system)
    size = sum(file.stat().st_size for file in release.folder.rglob("*") if file.is_file())
    print(f"{release.folder}: {size:,} bytes")


def _make(release: Release, system: ReleasedSystem) -> None:
    records = asyncio.run(_records(system))
    for sent in (ticks.first(), ticks.second()):  # a start between them has RocksDB put rows into files
        worker = system.start()
        _send(system, records, sent)
        system.wait_drained(sink=False)
        worker.stop()
        if worker.exit_code != 0:
            raise RuntimeError(worker.log_tail())
    release = asyncio.run(_found(release, system))
    release.write()
    pack(release, worker.data)
    for topic in release.topics:
        write_records(topic_file(release, topic), _in(system, topic))
    write_candles(release, "candles", _right(system))
    asyncio.run(_schemas(release, system.registry_url))
    written = {topic: system.topics.end_offsets(system.topic(topic)) for topic in ticks.TOPICS}
    _send(system, records, ticks.away())
    write_records(away_file(release), _since(system, written))
    system.start()
    system.wait_drained(sink=False)
    written = {topic: system.topics.end_offsets(system.topic(topic)) for topic in ticks.TOPICS}
    _send(system, records, ticks.later())
    write_records(later_file(release), _since(system, written))
    system.wait_drained(sink=False)
    worker.stop()
    write_candles(release, "candles-later", _right(system))


def _right(system: ReleasedSystem) -> list[Candle]:
    """The candles, which are as the reference has them."""
    calendars, found = calendars_in(None), system.candles_topic()
    expected: dict[CandleKey, Reference] = {}
    for topic in ticks.TOPICS:
        for placed in asyncio.run(_ticks(system, topic)).values():
            accepted = [(offset, tick) for offset, tick in placed if Policy().judge(tick) is Verdict.ACCEPTED]
            expected |= reference_candles(accepted, lambda symbol: venue_of(calendar_of(calendars, symbol)))
    assert_as_in(expected, found)
    return list(found.values())


async def _ticks(system: ReleasedSystem, topic: str) -> dict[int, list[tuple[int, Tick]]]:
    """The (offset, tick) of each partition, whatever they were written as."""
    records, registry = system.topics.read(system.topic(topic)), Registry(system.registry_url)
    decoder = TickDecoder(registry)
    await decoder.prepare([record.value for record in records])
    await registry.close()
    found: dict[int, list[tuple[int, Tick]]] = {}
    for record in records:
        found.setdefault(record.partition, []).append((record.offset, decoder.decode(record.key, record.value)))
    return found


async def _records(system: ReleasedSystem) -> ticks.Records:
    """Both versions of the schema are registered, as by producers of two generations."""
    registry = Registry(system.registry_url)
    try:
        ids = [
            await registry.ensure(f"{system.topic(ticks.SHARES)}-value", schema)
            for schema in (TICK_SCHEMA_V1, TICK_SCHEMA_V2)
        ]
    finally:
        await registry.close()
    return ticks.Records(Encoder(TICK_SCHEMA_V1, ids[0]), Encoder(TICK_SCHEMA_V2, ids[1]))


def _send(system: ReleasedSystem, records: ticks.Records, sent: Iterable[ticks.Sent]) -> None:
    ordered = list(sent)
    for begin in range(0, len(ordered), _FETCH):
        for topic in ticks.TOPICS:
            some = [records.of(tick) for place, tick in ordered[begin : begin + _FETCH] if place == topic]
            system.topics.produce(system.topic(topic), some)


def _in(system: ReleasedSystem, topic: str) -> list[Placed]:
    found = [(topic, record) for record in system.topics.read(topic)]
    ends = system.topics.end_offsets(topic)
    if len(found) != sum(ends.values()):
        raise RuntimeError(f"{topic} has holes, so its offsets cannot be had again")
    return found


def _since(system: ReleasedSystem, written: dict[str, dict[int, int]]) -> list[Placed]:
    return [
        (name, record)
        for topic, ends in written.items()
        for name, record in _in(system, system.topic(topic))
        if record.offset >= ends[record.partition]
    ]


async def _found(release: Release, system: ReleasedSystem) -> Release:
    """With the topics that there are, and what the group has committed."""
    connection = Connection(system.bootstrap)
    names = sorted(name for name in system.topics.names() if name.startswith((release.topic_prefix, f"{APP_ID}-")))
    configs = await configs_of(connection, names)
    committed = await committed_by(connection, release.app_id)
    return Release(
        release.version,
        release.commit,
        release.app_id,
        release.topic_prefix,
        release.partitions,
        release.tick_topics,
        {name: configs[name]["cleanup.policy"] for name in names},
        sorted((place.topic, place.partition, offset) for place, offset in committed.items()),
    )


async def _schemas(release: Release, url: str) -> None:
    """Every version of every subject, in the order of ids, which is that in which they were registered."""
    found: list[dict[str, Any]] = []
    async with httpx.AsyncClient() as client:
        for subject in (await client.get(f"{url}/subjects")).json():
            for number in (await client.get(f"{url}/subjects/{subject}/versions")).json():
                one = (await client.get(f"{url}/subjects/{subject}/versions/{number}")).json()
                found.append(
                    {"subject": subject, "id": one["id"], "version": number, "schema": json.loads(one["schema"])}
                )
    write_schemas(release, sorted(found, key=lambda each: (each["id"], each["subject"], each["version"])))


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
