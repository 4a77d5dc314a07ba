"""The ticks that every contender reads and the candles that each must come to; made once, kept in ``.cache``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer
from numpy.typing import NDArray

from stockstream.codecs.avro import Encoder
from stockstream.core.interval import INTERVALS_MS
from stockstream.models import TICK_SCHEMA_V2, Tick

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "bench"
FIRST_MS = 1_763_645_400_000  # 2025-11-20 13:30 UTC
HEADER_BYTES = 5  # a zero and the schema's id
SEED = 20251120

CandleKey = tuple[str, str, int]
"""(symbol, interval, window start ms)."""

Figures = tuple[float, float, float, float, float, int]
"""open, high, low, close, volume, trades."""

Candles = dict[CandleKey, Figures]


@dataclass(frozen=True, slots=True)
class Workload:
    """How many ticks of how many symbols; ``seed`` decides all of them.

    ``ticks_per_s`` of event time, over all symbols, in random order. With ``burst`` above 1 the symbols are swept
    instead, once a minute of event time, each with that many ticks in a row: every visit is one candle of 1m.
    """

    ticks: int
    symbols: int = 300
    partitions: int = 4
    seed: int = SEED
    ticks_per_s: int = 100
    burst: int = 1

    @property
    def topic(self) -> str:
        """Where its ticks are."""
        return f"bench-ticks-{_key(self)}-{self.partitions}"

    @property
    def file(self) -> Path:
        """Where its ticks are kept, however they are partitioned."""
        return CACHE / f"{_key(self)}.npz"


@cache
def _key(workload: Workload) -> str:
    known = {**asdict(workload), "schema": TICK_SCHEMA_V2, "first_ms": FIRST_MS}
    del known["partitions"]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Data:
    """Encoded ticks, without the header that names the schema, and what they amount to."""

    symbols: list[bytes]
    which: NDArray[np.int64]
    ends: NDArray[np.int64]
    body: bytes
    candles: Candles


def ticks_of(workload: Workload) -> Iterator[tuple[int, Tick]]:
    """(symbol's number, tick): trades with ids, random walks; sizes are whole, so that any sum of them is exact."""
    rng = Random(workload.seed)
    symbols = [f"BENCH:S{number:04d}" for number in range(workload.symbols)]
    prices = [round(rng.uniform(10, 500), 2) for _ in symbols]
    seen = [0] * len(symbols)
    for which, event_ms in _when(workload, rng):
        prices[which] = price = round(max(1.0, prices[which] + rng.random() - 0.5), 2)
        seen[which] += 1
        yield (
            which,
            Tick(
                symbol=symbols[which],
                event_time=event_ms,
                price=price,
                last_size=float(1 + int(rng.random() * 500)),
                trade_id=seen[which],
                producer_timestamp=event_ms + 40,
                timestamp=str(event_ms),
                exchange="BENCH",
                source="bench",
            ),
        )


def _when(workload: Workload, rng: Random) -> Iterator[tuple[int, int]]:
    """(symbol's number, event time) of each tick."""
    if workload.burst == 1:
        for number in range(workload.ticks):
            yield int(rng.random() * workload.symbols), FIRST_MS + number * 1000 // workload.ticks_per_s
        return
    visits = -(-workload.ticks // workload.burst)
    for number in range(workload.ticks):
        sweep, which = divmod(number // workload.burst, workload.symbols)
        yield which, FIRST_MS + sweep * 60_000 + which * 60_000 // min(visits, workload.symbols)


def load(workload: Workload) -> Data:
    """The workload's ticks, from the cache if they were made before."""
    if not workload.file.exists():
        _make(workload)
    with np.load(workload.file) as kept:
        candles = json.loads(bytes(kept["candles"]))
        return Data(
            symbols=[f"BENCH:S{number:04d}".encode() for number in range(workload.symbols)],
            which=kept["which"],
            ends=kept["ends"],
            body=bytes(kept["body"]),
            candles={(row[0], row[1], row[2]): (row[3], row[4], row[5], row[6], row[7], row[8]) for row in candles},
        )


def _make(workload: Workload) -> None:
    encode = Encoder(TICK_SCHEMA_V2, 1)
    which, ends, body = [], [], bytearray()
    folded: dict[CandleKey, list[float]] = {}
    for symbol, tick in ticks_of(workload):
        body += encode(tick)[HEADER_BYTES:]
        which.append(symbol)
        ends.append(len(body))
        add(folded, tick)
    rows = [[*key, *figures(row)] for key, row in folded.items()]
    CACHE.mkdir(parents=True, exist_ok=True)
    half = workload.file.with_suffix(".half.npz")
    np.savez(
        half,
        which=np.array(which, np.int64),
        ends=np.array(ends, np.int64),
        body=np.frombuffer(bytes(body), np.uint8),
        candles=np.frombuffer(json.dumps(rows).encode(), np.uint8),
    )
    half.replace(workload.file)


def fill(bootstrap: str, workload: Workload, schema_id: int) -> Candles:
    """Write the ticks, lz4, by the partitioner of all our producers; returns the candles that they amount to."""
    data = load(workload)
    header = b"\0" + schema_id.to_bytes(4, "big")
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

    begin = 0
    for number, (which, end) in enumerate(zip(data.which.tolist(), data.ends.tolist(), strict=True)):
        value = header + data.body[begin:end]
        while True:
            try:
                producer.produce(workload.topic, value, data.symbols[which], on_delivery=delivered)
                break
            except BufferError:
                producer.poll(1)
        begin = end
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(60) or failures:
        raise KafkaException(f"the ticks were not written: {failures[:1]}")
    return data.candles


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
