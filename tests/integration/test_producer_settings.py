"""Each setting of the producers, as what it changes in the log of a real broker."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

from stockstream.adapters import connection_of, tick_producer
from stockstream.models import Tick
from stockstream.settings import Settings
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.wait import wait_until_async

_HEAD = struct.Struct(">qi5xIHi16xqhii")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Stored(NamedTuple):
    """One record batch in a broker's log."""

    codec: str
    size_bytes: int
    producer_id: int
    records: int


def stored(kafka: KafkaCluster, topic: str) -> list[Stored]:
    """The batches of partition 0, from the broker's own file."""
    (path,) = Path(kafka.root).glob(f"**/{topic}-0/00000000000000000000.log")
    data, at, batches = path.read_bytes(), 0, []
    while at + _HEAD.size <= len(data):
        _, length, _, attributes, _, producer_id, _, _, records = _HEAD.unpack_from(data, at)
        batches.append(Stored(CODECS[attributes & 7], length + 12, producer_id, records))
        at += length + 12
    return batches


async def produced(kafka: KafkaCluster, count: int, **settings: object) -> list[Stored]:
    """The batches of so many ticks, each sent by itself."""
    topic = f"settings-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(topic)
    chosen = Settings(kafka_bootstrap_servers=kafka.bootstrap, **settings)  # type: ignore[arg-type]
    producer = tick_producer(chosen, connection_of(chosen), topic, lambda tick: b"x" * 200, lambda: 1)
    await producer.start()
    for number in range(count):
        await producer.send([Tick("AAPL", number, 1.0)])
    assert await producer.close(30) == 0
    assert producer.counts.acknowledged == count
    await wait_until_async(lambda: len(kafka.topics.read(topic)) == count, 30, "all of them to be in the log")
    return stored(kafka, topic)


@pytest.mark.parametrize("codec", CODECS)
async def test_batches_are_compressed_as_is_said(kafka: KafkaCluster, codec: str) -> None:
    batches = await produced(kafka, 300, producer_compression=codec)
    assert sum(batch.records for batch in batches) == 300
    large = [batch for batch in batches if batch.records > 1]
    assert {batch.codec for batch in large} == {codec}
    assert all((batch.size_bytes < 100 * batch.records) == (codec != "none") for batch in large)


async def test_a_batch_has_no_more_bytes_than_is_said(kafka: KafkaCluster) -> None:
    small = await produced(kafka, 100, producer_batch_bytes=1024, producer_linger_ms=50)
    assert max(batch.size_bytes for batch in small) <= 1024
    assert max(batch.records for batch in small) == 4
    whole = await produced(kafka, 100, producer_linger_ms=50)
    assert max(batch.size_bytes for batch in whole) > 10_000


async def test_a_line_each_n_ticks(kafka: KafkaCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stockstream")
    await produced(kafka, 350, log_every_ticks=100)
    told = [record.getMessage() for record in caplog.records if "ticks taken" in record.getMessage()]
    assert [text.split()[1:4] for text in told] == [[str(count), "ticks", "taken,"] for count in (100, 200, 300)]


async def test_linger_gathers_what_comes_in_the_meantime(kafka: KafkaCluster) -> None:
    topic = f"linger-{uuid.uuid4().hex[:8]}"
    kafka.topics.create(topic)
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, producer_linger_ms=5000)
    producer = tick_producer(settings, connection_of(settings), topic, lambda tick: b"x", lambda: 1)
    await producer.start()
    await producer.send([Tick("AAPL", 0, 1.0)])
    assert await producer.flush(30)
    for number in range(1, 6):
        await producer.send([Tick("AAPL", number, 1.0)])
        assert not await producer.flush(0.05)
    assert await producer.close(30) == 0
    assert [batch.records for batch in stored(kafka, topic)] == [1, 5]


@pytest.mark.parametrize(("acks", "is_idempotent"), [("all", True), ("1", True), ("0", False)])
async def test_whatever_the_acks_all_of_it_arrives_at_a_broker_that_is_well(
    kafka: KafkaCluster, acks: str, is_idempotent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    batches = await produced(kafka, 500, producer_acks=acks)
    assert sum(batch.records for batch in batches) == 500
    assert {batch.producer_id >= 0 for batch in batches} == {is_idempotent}
    assert (f"producer_acks={acks}" in caplog.text) == (acks != "all")
