"""Trades and quotes from a server that behaves as SSI's does, over real sockets, into a real topic."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from market_topic import MarketScene, MarketTopic, controls, produced
from pydantic import SecretStr

from stockstream.models import Tick
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.ssi.fake import Deal, FakeSsi
from stockstream.sources.ssi.feed import SsiFeed
from stockstream.testing.wait import wait_until_async

NAMES = ["VCB", "FPT", "HPG", "VNM"]
SYMBOLS = [f"SSI:{name}" for name in NAMES]
CONSUMER = ("int3gration-c0nsumer", "int3gration-s3cret")
Said = tuple[int, float, float, int]


class ImpatientFeed(SsiFeed):
    capabilities = replace(SsiFeed.capabilities, silence_s=2.0)


def clock(text: str) -> Callable[[], int]:
    """The time in Ho Chi Minh City, epoch ms, if it is now ``text`` there."""
    start_ms = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) - 7 * 3_600_000
    began_s = time.monotonic()
    return lambda: start_ms + int((time.monotonic() - began_s) * 1000)


MORNING, LUNCH = "2026-11-27T10:00", "2026-11-27T12:00"
MORNING_TO_COME = "2100-01-04T10:00"  # for who goes by the real time, and takes nothing of before for a trade


def said(ticks: Sequence[Tick]) -> dict[str, list[Said]]:
    """Of each symbol the (time, price, size, volume of the day) of its trades, in the topic's order."""
    found: dict[str, list[Said]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "trade":
            found[tick.symbol].append((tick.event_time, tick.price, tick.last_size, tick.day_volume))
    return found


def told(sent: Sequence[tuple[int, Deal]]) -> dict[str, list[Said]]:
    """The same of what was sent."""
    found: dict[str, list[Said]] = defaultdict(list)
    for _, each in sent:
        found[f"SSI:{each.symbol}"].append((each.time_ms, each.price, float(each.size), each.total))
    return found


class Scene(MarketScene):
    def run(self, make_feed: type[SsiFeed] = SsiFeed, consumer: tuple[str, str] = CONSUMER) -> ConnectionRunner:
        feed = make_feed(
            self.fake.url,
            ssi_api_url=self.fake.url,
            ssi_consumer_id=SecretStr(consumer[0]),
            ssi_consumer_secret=SecretStr(consumer[1]),
            now_s=lambda: self.topic.now_ms() / 1000,
        )
        return self.start(feed, SYMBOLS)

    def is_served(self) -> bool:
        return bool(self.fake.connections == [{"X-TRADE": NAMES, "X-QUOTE": NAMES}])


@asynccontextmanager
async def opened(kafka: Any, registry: Any, at: str = MORNING, **options: Any) -> AsyncIterator[Scene]:
    now_ms = clock(at)
    async with (
        FakeSsi(NAMES, now_ms, consumer=CONSUMER, **options) as fake,
        MarketTopic(kafka, registry, now_ms) as topic,
        Scene(fake, topic) as scene,
    ):
        yield scene


async def test_every_trade_before_a_close_is_in_the_topic_once_and_the_holes_are_told(
    kafka: Any, registry: Any
) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        for connection, code in enumerate((1001, 1000), start=1):
            await scene.until_streaming(connection)
            await scene.until_sent(150)
            await scene.fake.close(code)
        await scene.until_streaming(3)
        await scene.until_sent(100)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        quotes = [tick for tick in ticks if tick.kind == "quote"]
        assert quotes
        assert all(tick.bid == tick.price - 50 and tick.ask == tick.price + 50 for tick in quotes)
        assert {tick.currency for tick in ticks if tick.kind == "trade"} == {"VND"}
        holes = [("start", None), ("gap", "closed 1001"), ("gap", "closed 1000")]
        assert controls(ticks) == {symbol: holes for symbol in SYMBOLS}
        assert scene.fake.tokens_given == 1


async def test_after_an_abort_the_last_trade_that_is_told_again_counts_once(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.until_sent(150)
        await scene.fake.abort()
        await scene.until_streaming(2)
        await scene.until_sent(150)
        ticks = await scene.stop()
        everything = told(scene.fake.tape.sent)
        for symbol, trades in said(ticks).items():
            assert len(set(trades)) == len(trades)
            lost = [each for each in everything[symbol] if each not in trades]
            assert [each for each in everything[symbol] if each in trades] == trades
            assert len(lost) < len(trades) / 2
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), ("gap", "aborted"))}


async def test_another_worker_does_not_count_the_last_trade_again(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.until_sent(100)
        scene.fake.frame_every_s = 0
        await scene.runner.stop()
        await scene.task
        traded_ms = max(each.time_ms for _, each in scene.fake.tape.sent)
        await wait_until_async(lambda: scene.topic.now_ms() >= traded_ms + 1000, 20, "another second")
        scene.run()
        await scene.until_streaming(1)
        scene.fake.frame_every_s = 0.01
        await scene.until_sent(50)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        assert sum(tick.kind == "quote" and tick.last_size > 0 for tick in ticks) == len(NAMES)


async def test_silence_ends_a_connection_in_the_morning(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run(ImpatientFeed)
        await scene.until_streaming(1)
        await scene.until_sent(50)
        scene.fake.be_silent()
        await scene.until_streaming(2)
        await scene.until_sent(50)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), ("gap", "silent"))}


async def test_silence_at_lunch_is_no_fault(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry, LUNCH, frame_every_s=0) as scene:
        runner = scene.run(ImpatientFeed)
        await scene.until_streaming(1)
        scene.fake.be_silent()
        await asyncio.sleep(5)
        assert (runner.status.connections, runner.status.state) == (1, "streaming")
        assert set(map(tuple, controls(await scene.stop()).values())) == {(("start", None),)}


async def test_rubbish_is_counted_and_nothing_else_is_lost(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        runner = scene.run()
        await scene.until_streaming(1)
        await scene.fake.send_rubbish()
        await scene.until_sent(50)
        ticks = await scene.stop()
        assert runner.status.bad_frames == scene.fake.tape.rubbish == 6
        assert said(ticks) == told(scene.fake.tape.sent)
        assert scene.fake.accepted == 1


async def test_tokens_that_end_are_asked_for_anew(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        for connection in (1, 2, 3):
            await scene.until_streaming(connection)
            await scene.until_sent(30)
            scene.fake.end_tokens()
            await scene.fake.close()
        await scene.until_streaming(4)
        ticks = await scene.stop()
        assert scene.fake.tokens_given == 4
        assert said(ticks) == told(scene.fake.tape.sent)
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), *[("gap", "closed 1001")] * 3)}


async def test_a_venue_that_refuses_is_asked_again_until_it_does_not(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        runner = scene.run()
        await scene.until_streaming(1)
        scene.fake.refuse(503)
        await scene.fake.close()
        await wait_until_async(lambda: "503" in runner.status.detail, 20, "a refusal")
        await scene.fake.stop()
        await wait_until_async(lambda: runner.status.detail == "refused", 20, "a closed port")
        scene.fake.refuse(None)
        await scene.fake.start()
        await scene.until_streaming(2)
        await scene.until_sent(30)
        ticks = await scene.stop()
        causes = {cause for each in controls(ticks).values() for kind, cause in each if kind == "gap"}
        assert causes == {"closed 1001, refused with HTTP 503, refused"}
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_a_wrong_key_is_told_in_one_line_and_nothing_of_it_is_shown(
    kafka: Any, registry: Any, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    async with opened(kafka, registry) as scene:
        runner = scene.run(consumer=(CONSUMER[0], "wr0ng-s3cret"))
        await wait_until_async(lambda: runner.status.state == "failed", 20, "the failure to be seen")
        assert "SSI_CONSUMER_SECRET" in runner.status.detail
        shown = caplog.text + runner.status.detail + repr(vars(runner.feed))
        assert "wr0ng-s3cret" not in shown
        assert CONSUMER[0] not in shown
        assert await scene.stop() == []


async def test_a_config_file_of_three_lines_starts_the_source(kafka: Any, registry: Any, tmp_path: Path) -> None:
    async with FakeSsi(NAMES, clock(MORNING_TO_COME), consumer=CONSUMER) as fake:
        config = (
            f'symbols = "SSI:VCB,SSI:FPT"\nssi_consumer_id = "{CONSUMER[0]}"\nssi_consumer_secret = "{CONSUMER[1]}"\n'
        )
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SCHEMA_REGISTRY_URL": registry.url,
            "STOCKSTREAM_SSI_URL": fake.url,
            "STOCKSTREAM_SSI_API_URL": fake.url,
        }
        output, prefix = await produced("ssi", fake, tmp_path, config, environment)
        assert not [secret for secret in (*CONSUMER, "Bearer", *fake.tokens) if secret in output]
        topic = MarketTopic(kafka, registry, clock(MORNING_TO_COME), f"{prefix}vn-market")
        assert said(await topic.read()) == told(fake.tape.sent)
