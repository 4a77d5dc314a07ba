"""The consumer and the producer of a loop by hand, and what makes its work durable."""

from __future__ import annotations

import argparse
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from bench.peers.peer import Row, Window

COMMIT_EVERY_S = 1.0
ROW = struct.Struct("<5dq")  # open, high, low, close, volume, trades

Key = tuple[str, str, int]
"""(symbol, interval, window start ms)."""


def run(
    given: argparse.Namespace, batch_records: int, apply: Callable[[list[Any], dict[Key, Row]], Iterable[Key]]
) -> None:
    """Consume all records; ``apply`` folds a batch of messages into the candles and returns which it touched.

    Touched rows go to a changelog, and offsets are committed once a second, after everything sent so far has been
    acknowledged: whatever is committed is durable.
    """
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
    consumer.assign([TopicPartition(given.topic, number, OFFSET_BEGINNING) for number in range(given.partitions)])
    candles: dict[Key, Row] = {}
    window, seen, next_commit_s = Window(), 0, 0.0
    while seen < given.records:
        batch = consumer.consume(batch_records, 0.1)
        if not batch:
            continue
        window.begin()
        next_commit_s = next_commit_s or time.monotonic() + COMMIT_EVERY_S
        for message in batch:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
        for key in apply(batch, candles):
            symbol, interval, start = key
            producer.produce(f"{given.group}-changelog", ROW.pack(*candles[key]), f"{symbol}|{interval}|{start}")
        producer.poll(0)
        seen += len(batch)
        if seen >= given.records or time.monotonic() >= next_commit_s:
            producer.flush()
            consumer.commit(asynchronous=False)
            next_commit_s = time.monotonic() + COMMIT_EVERY_S
    window.end()
    consumer.close()
