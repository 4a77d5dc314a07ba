"""A topic read to the ends that it has at the start, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stockstream.broker.connection import Connection
from stockstream.broker.snapshot import open_snapshot
from stockstream.errors import BrokerUnreachable
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster

VALUES = [b"%d" % number for number in range(1000)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """One broker that may be frozen."""
    with KafkaCluster(kafka_libs()) as cluster:
        cluster.topics.create("numbers", 3)
        cluster.topics.produce("numbers", ((value, value) for value in VALUES))
        yield cluster


@pytest.fixture
def connection(cluster: KafkaCluster) -> Connection:
    return Connection(cluster.bootstrap)


async def test_what_comes_later_is_not_read(cluster: KafkaCluster, connection: Connection) -> None:
    async with open_snapshot(connection, "numbers") as snapshot:
        assert (snapshot.total, snapshot.done) == (1000, 0)
        cluster.topics.produce("numbers", [(b"later", b"later")] * 10)
        read = [record async for batch in snapshot.batches() for record in batch]
        assert snapshot.done == 1000
    assert sorted(record.value for record in read) == sorted(VALUES)
    for partition in range(3):
        offsets = [record.offset for record in read if record.partition == partition]
        assert offsets == list(range(len(offsets)))


async def test_partitions_and_times_bound_it(cluster: KafkaCluster, connection: Connection) -> None:
    whole = cluster.topics.read("numbers")
    middle_ms = whole[len(whole) // 2].timestamp_ms
    for partitions, since_ms in (([1], None), (None, middle_ms), ([0, 2], middle_ms), (None, 2**42)):
        async with open_snapshot(connection, "numbers", since_ms=since_ms, partitions=partitions) as snapshot:
            read = {(r.partition, r.offset) async for batch in snapshot.batches() for r in batch}
        assert read == {
            (each.partition, each.offset)
            for each in whole
            if each.partition in (partitions or (0, 1, 2)) and each.timestamp_ms >= (since_ms or 0)
        }


async def test_a_broker_that_stops_answering_ends_it(cluster: KafkaCluster, connection: Connection) -> None:
    cluster.topics.create("large", 1)  # a fetch brings one record of it, and the next is asked for when that was taken
    cluster.topics.produce("large", [(b"key", b"x" * 900_000)] * 6)
    async with open_snapshot(connection, "large", stall_s=3) as snapshot:
        cluster.pause(0)
        try:
            with pytest.raises(
                BrokerUnreachable, match="could not be read to its end: its brokers sent nothing for 3 s"
            ):
                async for _ in snapshot.batches():
                    pass
        finally:
            cluster.resume(0)
