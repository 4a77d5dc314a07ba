"""What it costs to have brokers fence a worker that was put out of its group, by a transactional producer a partition.

``python -m bench.fencing``. The writes of a worker, five topics a fetch, three ways: as they are (one producer, acks of
all replicas), in a transaction a fetch, and in one a second. Then what a rebalance would cost, and what a zombie can
still do: a process that is stopped while it writes, and goes on after somebody else has taken its partition over.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from bench.measure import cpu_seconds, save
from stockstream.broker.lease import Lease, guard_sends
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster

PARTITIONS, TOPICS, RECORDS, BYTES = 12, 5, 20, 250
ZOMBIES = 8
SESSION_S = 0.5
Flush = Callable[[int], Awaitable[object]]


def main() -> None:
    """Run all of it, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.fencing", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--zombie", nargs=2, metavar=("BOOTSTRAP", "WAY"))
    given = parser.parse_args()
    if given.zombie:
        return asyncio.run(_zombie(*given.zombie))
    console = Console()
    with KafkaCluster(kafka_libs()) as servers:
        for number in range(TOPICS):
            servers.topics.create(f"fencing-{number}", PARTITIONS)
        found = asyncio.run(_measure(servers.bootstrap, servers.brokers[0].pid, given.seconds))
        for way in ("plain", "lease", "transactions"):
            late = [asyncio.run(_late(servers.bootstrap, way)) for _ in range(ZOMBIES)]
            found[f"late records of zombies, {way}"] = late
    console.print(found)
    console.print(f"written to {save('fencing', found)}")
    return None


async def _measure(bootstrap: str, broker: int, seconds: float) -> dict[str, object]:
    """The three ways, twice in turns: the broker's compiler has a part in the first figures, which are not kept."""
    found: dict[str, object] = {}
    plain = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    producers = [_transactional(bootstrap, partition) for partition in range(PARTITIONS)]
    await plain.start()
    found["s to start a producer for each partition"] = await _started(producers)
    begun = [0.0] * PARTITIONS

    async def as_it_is(partition: int) -> None:
        await _write(plain, partition)

    async def in_one_each(partition: int) -> None:
        async with producers[partition].transaction():
            await _write(producers[partition], partition)

    async def in_one_a_second(partition: int) -> None:
        if time.monotonic() - begun[partition] > 1:
            if begun[partition]:
                await producers[partition].commit_transaction()
            await producers[partition].begin_transaction()
            begun[partition] = time.monotonic()
        await _write(producers[partition], partition)

    for _ in range(2):
        found["plain"] = await _paced(as_it_is, broker, seconds)
        found["a transaction a fetch"] = await _paced(in_one_each, broker, seconds)
        found["a transaction a second"] = await _paced(in_one_a_second, broker, seconds)
        for partition in range(PARTITIONS):
            await producers[partition].commit_transaction()
            begun[partition] = 0.0
    for producer in producers:
        await producer.begin_transaction()
    await asyncio.gather(*(_write(producer, partition) for partition, producer in enumerate(producers)))
    others = [_transactional(bootstrap, partition) for partition in range(PARTITIONS)]
    found["s to take all over from their open transactions"] = await _started(others)
    await asyncio.gather(*(each.stop() for each in [plain, *producers, *others]), return_exceptions=True)
    return found


async def _started(producers: list[Any]) -> float:
    begin_s = time.monotonic()
    await asyncio.gather(*(producer.start() for producer in producers))
    return round(time.monotonic() - begin_s, 3)


def _transactional(bootstrap: str, partition: int) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"fencing-{partition}")


def _producer(bootstrap: str, way: str) -> Any:
    return _transactional(bootstrap, 0) if way == "transactions" else AIOKafkaProducer(bootstrap_servers=bootstrap)


async def _write(producer: Any, partition: int, key: bytes = b"") -> None:
    """What a fetch of one partition makes: a batch for each topic, until all are acknowledged."""
    sent = []
    for number in range(TOPICS):
        batch = producer.create_batch()
        for _ in range(RECORDS):
            batch.append(timestamp=int(time.time() * 1000), key=key, value=bytes(BYTES))
        batch.close()
        sent.append(await producer.send_batch(batch, f"fencing-{number}", partition=partition))
    await asyncio.gather(*sent)


async def _paced(flush: Flush, broker: int, seconds: float, a_second: int = 5) -> dict[str, float]:
    """Each partition is flushed so many times a second; ``broker`` is a process."""
    took: list[float] = []
    broker_s, cpu_s, until = cpu_seconds(broker), time.process_time(), time.monotonic() + seconds

    async def work(partition: int) -> None:
        due = time.monotonic() + partition / PARTITIONS / a_second
        while due < until:
            await asyncio.sleep(due - time.monotonic())
            begin_s, due = time.monotonic(), due + 1 / a_second
            await flush(partition)
            took.append(time.monotonic() - begin_s)

    await asyncio.gather(*map(work, range(PARTITIONS)))
    took.sort()
    return {
        "flushes": len(took),
        "p50_ms": round(median(took) * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
        "cpu_ms_a_flush": round((time.process_time() - cpu_s) / len(took) * 1000, 2),
        "broker_cpu_ms_a_flush": round((cpu_seconds(broker) - broker_s) / len(took) * 1000, 2),
    }


async def _zombie(bootstrap: str, way: str) -> None:
    """Write to partition 0 as fast as it goes, until somebody objects. Standard input and output are its group."""
    producer = _producer(bootstrap, way)
    await producer.start()
    tasks = set()
    if way == "lease":
        lease, app = Lease(SESSION_S), SimpleNamespace(rebalancing=False)
        guard_sends(producer._sender, lease, app)
        tasks.add(asyncio.create_task(_beat(lease, app)))
    while True:
        if way == "transactions":
            async with producer.transaction():
                await _write(producer, 0, b"zombie")
        else:
            await _write(producer, 0, b"zombie")


async def _beat(lease: Lease, app: Any) -> None:
    loop = asyncio.get_running_loop()
    while not app.rebalancing:
        sent = time.monotonic()
        print("beat", flush=True)
        app.rebalancing = await loop.run_in_executor(None, sys.stdin.readline) != "alive\n"
        if not app.rebalancing:
            lease.renew(sent)
        await asyncio.sleep(SESSION_S / 10)


async def _late(bootstrap: str, way: str) -> int:
    """How many records of a zombie a reader of what is committed finds behind the first one of the new owner."""
    command = [sys.executable, "-m", "bench.fencing", "--zombie", bootstrap, way]
    zombie = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    is_member = True

    async def answer() -> None:
        assert zombie.stdin is not None and zombie.stdout is not None  # noqa: PT018 - they are pipes
        while await zombie.stdout.readline():
            zombie.stdin.write(b"alive\n" if is_member else b"gone\n")

    answering = asyncio.create_task(answer())
    before = _ends(bootstrap)
    while _ends(bootstrap) == before:  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.05)
    await asyncio.sleep(SESSION_S)
    zombie.send_signal(signal.SIGSTOP)
    await asyncio.sleep(SESSION_S + 0.1)
    is_member = False
    producer = _producer(bootstrap, way)
    await producer.start()
    begin = _ends(bootstrap)
    if way == "transactions":
        await producer.begin_transaction()
    await _write(producer, 0, b"owner")
    if way == "transactions":
        await producer.commit_transaction()
    zombie.send_signal(signal.SIGCONT)
    await asyncio.sleep(SESSION_S)
    if zombie.returncode is None:
        zombie.kill()
    await asyncio.gather(zombie.wait(), answering, producer.stop())
    return _keys_after_owner(bootstrap, begin).count(b"zombie")


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "-",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )


def _ends(bootstrap: str) -> int:
    consumer = _consumer(bootstrap)
    end: int = consumer.get_watermark_offsets(TopicPartition("fencing-0", 0), timeout=10)[1]
    consumer.close()
    return end


def _keys_after_owner(bootstrap: str, begin: int) -> list[bytes]:
    consumer = _consumer(bootstrap)
    consumer.assign([TopicPartition("fencing-0", 0, begin)])
    keys: list[bytes] = []
    while (message := consumer.poll(10)) is not None and not message.error():
        key = message.key() or b""
        if keys or key == b"owner":
            keys.append(key)
    consumer.close()
    return keys


if __name__ == "__main__":
    main()
