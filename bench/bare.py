"""The floor of any consumer on aiokafka: ``getmany`` in a loop, and nothing else. ``python -m bench.bare --help``.

With ``--relay`` what each answer brings of a partition is written to another topic as one batch: the floor of any
program that makes something of records and has it read by others. Prints one line when it has joined, and at the end
one of JSON. ``--log`` keeps, for each partition of each answer, when it came and how many records it held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from bench.measure import peak_mb_of_self

READY = "ready"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--wait-ms", type=int, default=500)
    parser.add_argument("--min-bytes", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--relay", help="a topic with as many partitions")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(consume(given))), flush=True)


async def consume(given: argparse.Namespace) -> dict[str, float]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=given.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=given.wait_ms,
        fetch_min_bytes=given.min_bytes,
    )
    producer = AIOKafkaProducer(bootstrap_servers=given.bootstrap, enable_idempotence=True, max_batch_size=1_000_000)
    await consumer.start()
    await producer.start()
    try:
        places = [TopicPartition(given.topic, number) for number in range(given.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        print(READY, flush=True)
        log: list[tuple[float, int, int]] = []
        seen = answers = 0
        begin_s = cpu_s = 0.0
        while seen < given.records:
            found = await consumer.getmany(timeout_ms=1000)
            now_s = time.monotonic()
            if not found:
                continue
            if not seen:
                begin_s, cpu_s = now_s, time.process_time()
            answers += 1
            for place, records in found.items():
                seen += len(records)
                log.append((now_s, place.partition, len(records)))
                if given.relay:
                    batch = producer.create_batch()
                    for record in records:
                        batch.append(key=record.key, value=record.value, timestamp=None)
                    await producer.send_batch(batch, given.relay, partition=place.partition)
    finally:
        await producer.stop()
        await consumer.stop()
    if given.log:
        np.save(given.log, np.array(log))
    return {
        "seconds": time.monotonic() - begin_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mb": peak_mb_of_self(),
        "answers": answers,
    }


if __name__ == "__main__":
    main()
