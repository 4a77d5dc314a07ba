"""Writes a workload's ticks at their own pace, and keeps when each was given to the producer; a process of its own."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from bench.data import Workload, load

_NEAR_S = 0.0005


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--schema-id", type=int, required=True)
    parser.add_argument("--ticks", type=int, required=True)
    parser.add_argument("--ticks-per-s", type=int, required=True)
    parser.add_argument("--times", type=Path, required=True, help="the moments by the steady clock, one a tick")
    given = parser.parse_args()
    data = load(Workload(given.ticks, ticks_per_s=given.ticks_per_s))
    header = b"\0" + given.schema_id.to_bytes(4, "big")
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "enable.idempotence": True,
            "linger.ms": 5,  # its default, here to be seen
        }
    )
    producer.list_topics(given.topic, timeout=30)  # the first tick shall not wait for it
    times = np.empty(given.ticks)
    begin, begin_s = 0, time.monotonic()
    for number, (which, end) in enumerate(zip(data.which.tolist(), data.ends.tolist(), strict=True)):
        value = header + data.body[begin:end]
        early_s = begin_s + number / given.ticks_per_s - time.monotonic()
        if early_s > _NEAR_S:
            producer.poll(0)
            time.sleep(early_s)
        times[number] = time.monotonic()
        producer.produce(given.topic, value, data.symbols[which])
        begin = end
    if producer.flush(30):
        raise TimeoutError("the ticks were not acknowledged")
    np.save(given.times, times)


if __name__ == "__main__":
    main()
