"""When a tick that was written had arrived: in a candle, or at a consumer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Self, TypeVar
from uuid import uuid4

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from numpy.typing import NDArray

from bench.data import Data
from stockstream.models import CANDLE_SCHEMA, Candle
from stockstream.testing.system import System
from stockstream.testing.topics import Record

Group = TypeVar("Group")
Times = NDArray[np.float64]
"""Moments by the steady clock, in seconds, one a tick in the order of their writing."""

Fetches = NDArray[np.float64]
"""Rows of (moment, partition, number of records), of each partition in the order of its log."""

Found = list[tuple[float, int, bytes]]
"""(moment, partition, value) of records."""


class Reader:
    """Notes in a thread of its own when each record of a topic came, undecoded."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": uuid4().hex,  # required, though none is ever joined
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 1,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
        self._found: Found = []
        self._expected: int | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.read_all(0)
        self._consumer.close()

    def read_all(self, expected: int) -> Found:
        """What has come, once it is ``expected`` records; for the last call."""
        self._expected = expected
        self._thread.join(30)
        return self._found

    def _read(self) -> None:
        while self._expected is None or len(self._found) < self._expected:
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._found.append((time.monotonic(), message.partition() or 0, message.value() or b""))


def of_candles(system: System, data: Data, found: Found) -> Times:
    """When each tick was in its symbol's candle of the day, which counts the trades."""
    candles = asyncio.run(system.decode([value for _, _, value in found], Candle, CANDLE_SCHEMA))
    numbers = _by(data, [symbol.decode() for symbol in data.symbols])
    arrivals = np.full(len(data.which), np.inf)
    done: dict[str, int] = defaultdict(int)
    for (at_s, _, _), candle in zip(found, candles, strict=True):
        if candle.interval == "1d" and (candle.trades or 0) > done[candle.symbol]:
            first, done[candle.symbol] = done[candle.symbol], candle.trades or 0
            arrivals[numbers[candle.symbol][first : done[candle.symbol]]] = at_s
    return arrivals


def of_records(records: Iterable[Record], data: Data, fetches: Fetches) -> Times:
    """When each tick was fetched."""
    partition_of = {record.key: record.partition for record in records}
    numbers = _by(data, [partition_of.get(symbol, -1) for symbol in data.symbols])
    arrivals = np.full(len(data.which), np.inf)
    done: dict[int, int] = defaultdict(int)
    for at_s, partition, count in fetches.tolist():
        first, done[partition] = done[partition], done[partition] + int(count)
        arrivals[numbers[partition][first : done[partition]]] = at_s
    return arrivals


def _by(data: Data, groups: list[Group]) -> dict[Group, list[int]]:
    """The numbers of the ticks by their symbol's group, ascending."""
    numbers: dict[Group, list[int]] = defaultdict(list)
    for number, which in enumerate(data.which.tolist()):
        numbers[groups[which]].append(number)
    return numbers
