"""The ticks that every contender reads, and the candles that each of them must come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from confluent_kafka import KafkaError, KafkaException, Producer

from stockstream.codecs.avro import Encoder
from stockstream.core.interval import INTERVALS_MS
from stockstream.models import Tick

FIRST_MS = 1_763_645_400_000  # 2025-11-20 13:30 UTC
TICKS_A_SECOND = 100  # of event time, over all symbols

CandleKey = tuple[str, str, int]
"""(symbol, interval, window start ms)."""

Figures = tuple[float, float, float, float, float, int]
"""open, high, low, close, volume, trades."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How many ticks of how many symbols, over how many partitions; ``seed`` decides all of them."""

    ticks: int
    symbols: int
    partitions: int
    seed: int


def ticks_of(workload: Workload) -> Iterator[Tick]:
    """Trades with ids, a random walk for each symbol, in order; sizes are whole, so that any sum of them is exact."""
    rng = Random(workload.seed)
    symbols = [f"BENCH:S{number:04d}" for number in range(workload.symbols)]
    prices = [round(rng.uniform(10, 500), 2) for _ in symbols]
    seen = [0] * len(symbols)
    for number in range(workload.ticks):
        which = int(rng.random() * len(symbols))
        prices[which] = price = round(max(1.0, prices[which] + rng.random() - 0.5), 2)
        seen[which] += 1
        event_ms = FIRST_MS + number * 1000 // TICKS_A_SECOND
        yield Tick(
            symbol=symbols[which],
            event_time=event_ms,
            price=price,
            last_size=float(1 + int(rng.random() * 500)),
            trade_id=seen[which],
            producer_timestamp=event_ms + 40,
            timestamp=str(event_ms),
            exchange="BENCH",
            source="bench",
        )


def fill(bootstrap: str, topic: str, workload: Workload, encode: Encoder) -> dict[CandleKey, Figures]:
    """Write the ticks, lz4, by the partitioner of all our producers; returns the candles that they amount to."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "enable.idempotence": True,
            "log_level": 0,  # a broker that has just started asks for patience, aloud
            "queue.buffering.max.messages": 500_000,
        }
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    reference: dict[CandleKey, list[float]] = {}
    for number, tick in enumerate(ticks_of(workload)):
        add(reference, tick)
        value = encode(tick)
        while True:
            try:
                producer.produce(topic, value, tick.symbol.encode(), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(1)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(60) or failures:
        raise KafkaException(f"the ticks were not written: {failures[:1]}")
    return {key: figures(row) for key, row in reference.items()}


def add(candles: dict[CandleKey, list[float]], tick: Tick) -> None:
    """One tick into its candles, with nothing clever about it."""
    for interval, length_ms in INTERVALS_MS.items():
        key = (tick.symbol, interval, tick.event_time - tick.event_time % length_ms)
        price, row = tick.price, candles.get(key)
        if row is None:
            candles[key] = [price, price, price, price, tick.last_size, 1]
        else:
            row[1] = max(row[1], price)
            row[2] = min(row[2], price)
            row[3] = price
            row[4] += tick.last_size
            row[5] += 1


def figures(row: list[float]) -> Figures:
    return row[0], row[1], row[2], row[3], row[4], int(row[5])


def check(name: str, found: Mapping[CandleKey, Figures], reference: Mapping[CandleKey, Figures]) -> None:
    """Compare every candle, to the last digit; raises AssertionError that names the first that differs."""
    wrong = [key for key, row in reference.items() if found.get(key) != row]
    extra = found.keys() - reference.keys()
    if wrong or extra:
        key = wrong[0] if wrong else min(extra)
        raise AssertionError(
            f"{name}: {len(wrong)} of {len(reference)} candles differ, {len(extra)} should not be there; "
            f"{key} is {found.get(key)}, not {reference.get(key)}"
        )
