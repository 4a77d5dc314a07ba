"""The same candles by hand: confluent-kafka, fastavro and a dict in one loop, as one writes it without a framework.

Candles of 1m, 5m and 1d are kept in memory. The rows that a batch touched go to a changelog topic, and offsets are
committed once a second, after everything sent so far has been acknowledged: whatever is committed is durable, as in
the worker. It has no local store, does not recover, does not see duplicates and judges nothing.

Prints one line of JSON: from the first record to the last commit, by the steady clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from fastavro import parse_schema, schemaless_reader

from stockstream.models import TICK_SCHEMA_V2

INTERVALS_MS = {"1m": 60_000, "5m": 300_000, "1d": 86_400_000}
HEADER_BYTES = 5
COMMIT_EVERY_S = 1.0
ROW = struct.Struct("<5dq")  # open, high, low, close, volume, trades

Key = tuple[str, str, int]
Tick = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bootstrap", required=True)
    arguments.add_argument("--group", required=True)
    arguments.add_argument("--topic", required=True)
    arguments.add_argument("--changelog", required=True)
    arguments.add_argument("--partitions", type=int, required=True)
    arguments.add_argument("--records", type=int, required=True)
    given = arguments.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap,
            "group.id": given.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 5,  # its default of a second makes the client wait for itself
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "acks": "all",
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.assign([TopicPartition(given.topic, n, OFFSET_BEGINNING) for n in range(given.partitions)])
    print(json.dumps(run(consumer, producer, given.changelog, given.records)), flush=True)
    consumer.close()


def run(consumer: Consumer, producer: Producer, changelog: str, records: int) -> dict[str, float]:
    schema, read = parse_schema(TICK_SCHEMA_V2), cast(Callable[..., Tick], schemaless_reader)
    candles: dict[Key, list[float]] = {}
    first_s = next_commit_s = cpu_s = 0.0
    seen = 0
    while seen < records:
        batch = consumer.consume(5000, 0.1)
        if not batch:
            continue
        if not seen:
            first_s, cpu_s = time.monotonic(), time.process_time()
            next_commit_s = first_s + COMMIT_EVERY_S
        touched: set[Key] = set()
        for message in batch:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            stream = BytesIO(message.value() or b"")
            stream.seek(HEADER_BYTES)
            fold(read(stream, schema, None), candles, touched)
        for key in touched:
            symbol, interval, start = key
            producer.produce(changelog, ROW.pack(*candles[key]), f"{symbol}|{interval}|{start}".encode())
        producer.poll(0)
        seen += len(batch)
        if seen >= records or time.monotonic() >= next_commit_s:
            producer.flush()
            consumer.commit(asynchronous=False)
            next_commit_s = time.monotonic() + COMMIT_EVERY_S
    return {
        "seconds": time.monotonic() - first_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fold(tick: Tick, candles: dict[Key, list[float]], touched: set[Key]) -> None:
    symbol, price, size, event_ms = tick["symbol"], tick["price"], tick["last_size"], tick["event_time"]
    for interval, length_ms in INTERVALS_MS.items():
        key = (symbol, interval, event_ms - event_ms % length_ms)
        row = candles.get(key)
        if row is None:
            candles[key] = [price, price, price, price, size, 1]
        else:
            if price > row[1]:
                row[1] = price
            if price < row[2]:
                row[2] = price
            row[3] = price
            row[4] += size
            row[5] += 1
        touched.add(key)


if __name__ == "__main__":
    main()
