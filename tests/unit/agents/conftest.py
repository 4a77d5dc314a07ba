"""A candle processor over real stores, between a log and a broker that the test plays."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stockstream.agents.processor import CandleProcessor
from stockstream.broker.taken import Taken
from stockstream.codecs.avro import TickDecoder
from stockstream.core.rules import CandleRules
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Latest
from stockstream.tables import Tables

TOPIC = "ticks"
MINUTE = 60_000
DAY = 86_400_000

Rules = Callable[..., CandleRules]
MakeRecord = Callable[..., Any]


class NoSchemas:
    async def schema(self, schema_id: int) -> Any:
        raise AssertionError("plain JSON has no schema")


class FakeConsumer:
    """Faust's consumer as the processor asks it."""

    def __init__(self) -> None:
        self.assigned = {TP(TOPIC, 0)}
        self.sought: dict[TP, int | None] = {}
        self.committed: dict[TP, int] = {}
        self._active_partitions = self.assigned
        self.open_generation: int | None = 1
        self.poisoned = False
        self.ends: dict[TP, int] = defaultdict(lambda: 1000)
        self.begins: dict[TP, int] = defaultdict(int)
        self.read_again: list[tuple[TP, int]] = []
        self.before_highwaters: Callable[[], None] = lambda: None
        self._thread = SimpleNamespace(taken=Taken())

    def assignment(self) -> set[TP]:
        return self.assigned

    def highwater(self, tp: TP) -> int:
        return self.ends[tp]

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        self.before_highwaters()
        return {tp: self.ends[tp] for tp in tps}

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.begins[tp] for tp in tps}

    async def seek_wait(self, offsets: dict[TP, int]) -> None:
        self.read_again.extend(offsets.items())

    def key_partition(self, topic: str, key: bytes) -> int:
        return 0


class FakeBatch:
    def __init__(self, room: int) -> None:
        self.rows: list[tuple[bytes, bytes | None]] = []
        self._room = room

    def append(self, *, timestamp: int, key: bytes, value: bytes | None) -> object:
        if len(self.rows) == self._room:
            return None
        self.rows.append((key, value))
        return self

    def close(self) -> None:
        pass


class FakeProducer:
    """Takes every batch, of at most ``room`` records, at once; offsets grow by topic as on a broker."""

    room = 1000

    def __init__(self) -> None:
        self.sent: defaultdict[str, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        self.skipped: Counter[str] = Counter()
        self.flushed = 0
        self._producer = self

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self.room)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(SimpleNamespace(offset=len(self.sent[topic]) + self.skipped[topic]))
        self.sent[topic] += batch.rows
        return future

    async def flush(self) -> None:
        self.flushed += 1


class FakeLetters:
    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []

    async def send(
        self, key: bytes, value: bytes, topic: str, partition: int, offset: int, reason: str, error: str
    ) -> None:
        self.sent.append((offset, reason))


@pytest.fixture
def make_record() -> MakeRecord:
    """A trade of symbol A, a minute after the one before unless told otherwise; its id is its offset."""

    def make(offset: int, symbol: str = "A", key: bytes | None = b"A", **fields: Any) -> Any:
        tick = {
            "symbol": symbol,
            "event_time": 20_000 * DAY + offset * MINUTE,
            "price": 100.0 + offset,
            "last_size": 1.0,
            "trade_id": offset,
            "kind": "trade",
            **fields,
        }
        return SimpleNamespace(key=key, value=json.dumps(tick).encode(), offset=offset)

    return make


@pytest.fixture
def rules() -> Rules:
    def make(**other: Any) -> CandleRules:
        return CandleRules(**{"policy": Policy(), "close_delay_ms": 0, "retention_ms": 2 * DAY, "epoch": 0, **other})

    return make


@pytest.fixture
def decoder() -> TickDecoder:
    return TickDecoder(NoSchemas())


@pytest.fixture
def encode_latest() -> Callable[[Latest], bytes]:
    return lambda latest: f"{latest.symbol} {latest.price}".encode()


def encode_candle(candle: Candle) -> bytes:
    return json.dumps([candle.interval, candle.window_start, candle.close, candle.state]).encode()


@pytest.fixture
async def app() -> Any:
    return SimpleNamespace(
        consumer=FakeConsumer(),
        producer=FakeProducer(),
        tables=SimpleNamespace(recovery=SimpleNamespace(in_recovery=False)),
        rebalancing=False,
        consumer_generation_id=1,
        crash=None,
        loop=asyncio.get_running_loop(),
    )


@pytest.fixture
def letters() -> FakeLetters:
    return FakeLetters()


@pytest.fixture
def told() -> list[tuple[int, int, list[Candle]]]:
    """What the processor tells of candles that it sent."""
    return []


@pytest.fixture
def told_prices() -> list[tuple[int, int, list[Latest]]]:
    """The same of prices."""
    return []


@pytest.fixture
def processor(
    app: Any,
    tables: Tables,
    rules: Rules,
    decoder: TickDecoder,
    encode_latest: Callable[[Latest], bytes],
    letters: Any,
    told: list[tuple[int, int, list[Candle]]],
    told_prices: list[tuple[int, int, list[Latest]]],
) -> CandleProcessor:
    return CandleProcessor(
        app,
        tables,
        rules(),
        topics=[TOPIC],
        candles_topic="candles",
        latest_topic="latest",
        gaps_topic="gaps",
        encode_candle=encode_candle,
        encode_latest=encode_latest,
        decoder=decoder,
        dead_letters=letters,
        candles_sent=lambda partition, offset, candles: told.append((partition, offset, list(candles))),
        prices_sent=lambda partition, offset, prices: told_prices.append((partition, offset, list(prices))),
    )


@pytest.fixture
def closes(app: Any) -> Callable[[str], list[float]]:
    """Closes of an interval's candles as they were published last, by window."""

    def of(interval: str) -> list[float]:
        sent = [json.loads(value) for _, value in app.producer.sent["candles"]]
        last = {start: close for kind, start, close, _ in sent if kind == interval}
        return [close for _, close in sorted(last.items())]

    return of
