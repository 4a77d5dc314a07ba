from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stockstream.broker import follower as follower_module
from stockstream.codecs import Decoder, Encoder
from stockstream.errors import BadMessage
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, Candle, Latest
from stockstream.models.schema import AvroSchema
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.wait import wait_until_async
from stockstream.web.live import LiveView

DEADLINE_S = 40
SCHEMAS = {1: CANDLE_SCHEMA, 2: LATEST_SCHEMA}
encode_candle, encode_latest = Encoder(CANDLE_SCHEMA, 1), Encoder(LATEST_SCHEMA, 2)
SYMBOLS = ["BTC-USD", "ETH-USD", "AAPL", "^GSPC", "ES=F", "BINANCE:BTCUSDT"]


class Schemas:
    """A registry that answers from memory."""

    async def schema(self, schema_id: int) -> AvroSchema:
        if schema_id not in SCHEMAS:
            raise BadMessage(f"no schema {schema_id}")
        return SCHEMAS[schema_id]


def now_ms() -> int:
    return int(time.time() * 1000)


def candle(symbol: str = "BTC-USD", window: int = 0, version: int = 1, **other: Any) -> Candle:
    start = 1_700_000_040_000 + window * 60_000
    whole = Candle(
        symbol, "1m", "regular", start, start + 60_000, 10.0, 12.0, 9.0, 11.0, 5.0, 10.5, 3, True,
        version, start, start + 60_000, state="closed",
    )  # fmt: skip
    return replace(whole, **other)


def latest(symbol: str = "BTC-USD", version: int = 1) -> Latest:
    return Latest(symbol, float(version), 0.5, 0.1, "regular", 1_700_000_040_000, 1_700_000_040_100, 1, version)


@dataclass
class Published:
    """The two topics, and what a worker does to them."""

    cluster: KafkaCluster
    candles: str
    latest: str

    def create(self, partitions: int = 3) -> None:
        self.cluster.topics.create(self.candles, partitions)
        self.cluster.topics.create(self.latest, partitions, config={"cleanup.policy": "compact"})

    def put_candles(self, *states: Candle) -> None:
        self.cluster.topics.produce(self.candles, [(each.symbol.encode(), encode_candle(each)) for each in states])

    def put_latest(self, *states: Latest) -> None:
        self.cluster.topics.produce(self.latest, [(each.symbol.encode(), encode_latest(each)) for each in states])

    def view(self, prepare: Callable[[Sequence[bytes]], Any] | None = None, **options: Any) -> LiveView:
        candles, prices = Decoder(Schemas(), Candle, CANDLE_SCHEMA), Decoder(Schemas(), Latest, LATEST_SCHEMA)

        async def fetch_schemas(values: Sequence[bytes]) -> None:
            if prepare is not None:
                await prepare(values)
            await candles.prepare(values)
            await prices.prepare(values)

        return LiveView(
            {"bootstrap_servers": self.cluster.bootstrap},
            candles_topic=self.candles,
            latest_topic=self.latest,
            decode_candle=candles.decode,
            decode_latest=prices.decode,
            prepare=fetch_schemas,
            now_ms=now_ms,
            **options,
        )


@pytest.fixture
def published(kafka: KafkaCluster) -> Published:
    run = uuid.uuid4().hex[:8]
    return Published(kafka, f"candles-{run}", f"latest-{run}")


Run = Callable[[LiveView], Any]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Start a view; all are stopped with the test, and none may have crashed."""
    views: list[LiveView] = []

    async def start(view: LiveView) -> LiveView:
        views.append(view)
        await view.start()
        return view

    yield start
    for view in views:
        crashed = view.crashed
        await view.stop()
        assert not crashed


async def caught_up(view: LiveView) -> None:
    await wait_until_async(lambda: view.ready and view.degraded is None, DEADLINE_S, "the live view to catch up")


def versions(view: LiveView, symbol: str = "BTC-USD") -> list[int]:
    return [each.version for each in view.candles(symbol, "1m", "regular")]


async def test_it_reads_what_is_there_and_then_follows(published: Published, run: Run) -> None:
    published.create()
    states = [candle(symbol, window, version) for window in range(5) for version in (1, 3, 2) for symbol in SYMBOLS]
    published.put_candles(*states)
    published.put_latest(*(latest(symbol, version) for version in (1, 2) for symbol in SYMBOLS))

    view = await run(published.view())
    await caught_up(view)
    for symbol in SYMBOLS:
        assert view.candles(symbol, "1m", "regular") == [candle(symbol, window, 3) for window in range(5)]
        assert view.latest[symbol] == latest(symbol, 2)
    assert view.symbols == set(SYMBOLS)

    published.put_candles(candle("ES=F", 4, 9), candle("NEW", 0))
    published.put_latest(latest("ES=F", 9))
    await wait_until_async(
        lambda: versions(view, "ES=F") == [3, 3, 3, 3, 9] and versions(view, "NEW") == [1], DEADLINE_S, "new candles"
    )
    await wait_until_async(lambda: view.latest["ES=F"].version == 9, DEADLINE_S, "a new price")
    assert view.undecodable == 0


async def test_empty_topics_are_caught_up_with(published: Published, run: Run) -> None:
    published.create()
    view = await run(published.view())
    await caught_up(view)
    assert view.symbols == set()


async def test_candles_are_read_from_the_history_on_and_prices_from_the_beginning(
    published: Published, run: Run
) -> None:
    published.create()
    old_ms = now_ms() - 3_600_000
    async with AIOKafkaProducer(bootstrap_servers=published.cluster.bootstrap) as producer:
        for symbol in SYMBOLS:
            key = symbol.encode()
            await producer.send_and_wait(published.candles, encode_candle(candle(symbol, 0)), key, timestamp_ms=old_ms)
            await producer.send_and_wait(published.latest, encode_latest(latest(symbol)), key, timestamp_ms=old_ms)
    published.put_candles(candle("BTC-USD", 1))

    view = await run(published.view(history_s=600))
    await caught_up(view)
    assert {symbol: len(versions(view, symbol)) for symbol in SYMBOLS} == dict.fromkeys(SYMBOLS, 0) | {"BTC-USD": 1}
    assert set(view.latest) == set(SYMBOLS)

    longer = await run(published.view(history_s=7200))
    await caught_up(longer)
    assert len(versions(longer)) == 2


async def test_a_null_price_forgets_its_symbol(published: Published, run: Run) -> None:
    published.create()
    published.put_latest(latest("GONE"), latest("STAYS"))
    published.cluster.topics.produce(published.latest, [(b"GONE", None)])
    view = await run(published.view())
    await caught_up(view)
    assert set(view.latest) == {"STAYS"}


async def test_undecodable_records_are_counted_and_passed_over(
    published: Published, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    published.create(partitions=1)
    good = encode_candle(candle(version=2))
    bad = [b"", b"{}", good[:-1], good + b"x", b"\0\0\0\0\x63" + good[5:], encode_latest(latest()), None]
    published.cluster.topics.produce(
        published.candles, [(b"BTC-USD", each) for each in [encode_candle(candle()), *bad, good]]
    )
    published.cluster.topics.produce(published.latest, [(b"X", b"garbage"), (b"\xff", None)])
    published.put_latest(latest())
    with caplog.at_level(logging.WARNING, follower_module.__name__):
        view = await run(published.view())
        await caught_up(view)
    assert versions(view) == [2]
    assert set(view.latest) == {"BTC-USD"}
    assert view.undecodable == len(bad) + 1
    assert len([each for each in caplog.records if "undecodable" in each.message]) == 1


async def test_what_the_worker_sent_itself_is_not_read_and_all_around_it_is(published: Published, run: Run) -> None:
    """Records that cannot be read stand for its own: they would be counted."""
    published.create(partitions=1)
    view = published.view()

    def others(*states: Candle) -> None:
        published.put_candles(*states)

    def own(offset: int, *states: Candle) -> None:
        published.cluster.topics.produce(published.candles, [(b"", b"unreadable")] * len(states))
        view.take_sent(0, offset, states)

    others(candle(window=0), candle(window=1))
    own(2, candle(window=2), candle(window=3))
    own(4, candle(window=3, version=2))
    await run(view)
    await caught_up(view)
    assert versions(view) == [1, 1, 1, 2]

    others(candle(window=4))
    await wait_until_async(lambda: versions(view) == [1, 1, 1, 2, 1], DEADLINE_S, "another worker's candle")
    own(6, candle(window=5))
    others(candle(window=4, version=3), candle(window=5))
    own(9, candle(window=6))
    others(candle(window=7))
    await wait_until_async(lambda: versions(view) == [1, 1, 1, 2, 3, 1, 1, 1], DEADLINE_S, "what came around our own")
    assert view.undecodable <= 1  # the stretch at 6, unless it was reached before another one was told


async def test_its_own_prices_are_not_read_and_others_are(published: Published, run: Run) -> None:
    published.create(partitions=1)
    view = published.view()
    published.put_latest(latest("ETH-USD"))
    published.cluster.topics.produce(published.latest, [(b"", b"unreadable")] * 2)  # stands for its own
    view.take_sent_prices(0, 1, [latest("BTC-USD", 1), latest("BTC-USD", 2)])
    await run(view)
    await caught_up(view)
    published.put_latest(latest("AAPL"))
    await wait_until_async(lambda: "AAPL" in view.latest, DEADLINE_S, "another worker's price")
    assert {symbol: price.version for symbol, price in view.latest.items()} == {"ETH-USD": 1, "BTC-USD": 2, "AAPL": 1}
    assert view.undecodable == 0


async def test_its_own_candles_of_an_earlier_topic_hide_none_of_a_new_one(published: Published, run: Run) -> None:
    published.create(partitions=1)
    view = published.view()
    view.take_sent(0, 0, [candle(window) for window in range(5)])
    published.put_candles(candle("ETH-USD"))
    await run(view)
    await caught_up(view)
    assert versions(view, "ETH-USD") == [1]

    view.take_sent(0, 1, [candle("AAPL", window) for window in range(5)])
    published.put_candles(candle("AAPL", 5))
    await wait_until_async(lambda: versions(view, "AAPL")[-1:] == [1], DEADLINE_S, "its own")
    published.cluster.topics.delete(published.candles)
    await wait_until_async(lambda: published.candles not in published.cluster.topics.names(), DEADLINE_S, "its end")
    published.cluster.topics.create(published.candles, 1)
    published.put_candles(candle("NEW"))
    await wait_until_async(lambda: versions(view, "NEW") == [1], DEADLINE_S, "the candle of the topic created anew")


async def test_it_waits_for_topics_that_are_not_created_yet(published: Published, run: Run) -> None:
    view = await run(published.view())
    await wait_until_async(lambda: view.degraded, DEADLINE_S, "the missing topics to be noticed")
    assert not view.ready
    assert view.degraded is not None
    assert published.candles in view.degraded
    assert published.candles not in published.cluster.topics.names()

    published.create()
    published.put_candles(candle())
    await caught_up(view)
    await wait_until_async(lambda: versions(view) == [1], DEADLINE_S, "the candle")


async def test_a_batch_whose_schemas_cannot_be_had_is_read_again(
    published: Published, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[BaseException] = [OSError("registry away"), ZeroDivisionError("a defect"), OSError("still away")]
    reasons: list[str | None] = []

    async def prepare(_values: Sequence[bytes]) -> None:
        reasons.append(view.degraded)
        if failures:
            raise failures.pop(0)

    published.create()
    published.put_candles(*(candle(symbol) for symbol in SYMBOLS))
    view = published.view(prepare)
    await run(view)
    await caught_up(view)
    assert view.symbols == set(SYMBOLS)
    assert reasons[0] is None
    assert "registry away" in str(reasons[1])
    assert "a defect" in str(reasons[2])


async def test_an_outage_of_the_brokers_is_told_and_got_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_IDLE_PROBE_S", 0.5)
    monkeypatch.setattr(follower_module, "_CONTACT_TIMEOUT_S", 2.0)
    with KafkaCluster(kafka_libs()) as cluster:
        published = Published(cluster, "candles", "latest")
        published.create()
        published.put_candles(candle(window=0), candle(window=1))
        published.put_latest(latest())
        view = await run(published.view())
        await caught_up(view)

        cluster.kill(0)
        await wait_until_async(lambda: view.degraded, DEADLINE_S, "the outage to be noticed")
        assert view.ready
        assert versions(view) == [1, 1]
        assert view.latest["BTC-USD"] == latest()

        cluster.start(0)
        published.put_candles(candle(window=1, version=2), candle(window=2))
        await wait_until_async(lambda: versions(view) == [1, 2, 1], DEADLINE_S, "what was sent after the outage")
        await wait_until_async(lambda: view.degraded is None, DEADLINE_S, "the outage to be over")


async def test_it_can_be_stopped_while_no_broker_answers() -> None:
    published = Published(_Nowhere(), "candles", "latest")  # type: ignore[arg-type]
    view = published.view()
    await view.start()
    await wait_until_async(lambda: view.degraded, DEADLINE_S, "the missing broker to be noticed")
    await view.stop()
    assert not view.ready


class _Nowhere:
    bootstrap = "127.0.0.1:9"
