"""Trades from a server that behaves as Finnhub's does, over real sockets, into a real topic."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from market_topic import MarketScene, MarketTopic, controls, produced
from pydantic import SecretStr

from stockstream.core.offline import OfflineEngine
from stockstream.models import Tick
from stockstream.sources.finnhub.fake import FakeFinnhub, Market, Print
from stockstream.sources.finnhub.feed import FinnhubFeed
from stockstream.sources.runner import ConnectionRunner
from stockstream.testing.wait import wait_until_async

NAMES = ["AAPL", "MSFT", "BRK.B", "BINANCE:BTCUSDT", "OANDA:EUR_USD", "TSLA"]
SYMBOLS = [f"FINNHUB:{name}" for name in NAMES]
KEY, OTHER_KEY = "int3gration-k3y", "wr0ng-k3y"
Said = tuple[str, int, float, float, str | None]


class QuickFeed(FinnhubFeed):
    capabilities = replace(FinnhubFeed.capabilities, command_every_s=0.01)


class ImpatientFeed(QuickFeed):
    capabilities = replace(QuickFeed.capabilities, silence_s=2.0)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def said(ticks: Sequence[Tick]) -> dict[str, list[Said]]:
    """Of each symbol the (kind, time, price, size, conditions) of its trades and updates, in the topic's order."""
    found: dict[str, list[Said]] = defaultdict(list)
    for tick in ticks:
        if tick.kind in ("trade", "quote"):
            found[tick.symbol].append((tick.kind, tick.event_time, tick.price, tick.last_size, tick.conditions))
    return found


def told(sent: Sequence[tuple[int, Print]]) -> dict[str, list[Said]]:
    """The same of what was sent."""
    found: dict[str, list[Said]] = defaultdict(list)
    for _, each in sent:
        kind = "trade" if each.size else "quote"
        conditions = ",".join(each.conditions or ()) or None
        found[f"FINNHUB:{each.symbol}"].append((kind, each.time_ms, each.price, each.size, conditions))
    return found


class Scene(MarketScene):
    def run(
        self, symbols: Sequence[str] = SYMBOLS, key: str = KEY, make_feed: type[FinnhubFeed] = QuickFeed
    ) -> ConnectionRunner:
        return self.start(make_feed(self.fake.url, finnhub_api_token=SecretStr(key)), symbols)

    def is_served(self) -> bool:
        return [len(symbols) for symbols in self.fake.connections] == [len(self.runner.status.symbols)]


@asynccontextmanager
async def opened(kafka: Any, registry: Any, **options: Any) -> AsyncIterator[Scene]:
    async with (
        FakeFinnhub(Market(NAMES, seed=7), now_ms, token=KEY, **options) as fake,
        MarketTopic(kafka, registry, now_ms) as topic,
        Scene(fake, topic) as scene,
    ):
        yield scene


async def test_every_trade_before_a_close_is_in_the_topic_once_and_the_holes_are_told(
    kafka: Any, registry: Any
) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        for connection, code in enumerate((1001, 1000, 1011), start=1):
            await scene.until_streaming(connection)
            await scene.until_sent(200)
            await scene.fake.close(code)
        await scene.until_streaming(4)
        await scene.until_sent(100)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        assert any(tick.kind == "quote" for tick in ticks)
        holes = [("start", None), ("gap", "closed 1001"), ("gap", "closed 1000"), ("gap", "closed 1011")]
        assert controls(ticks) == {symbol: holes for symbol in SYMBOLS}


async def test_candles_are_made_of_trades_and_not_of_updates_of_the_price(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.until_sent(600)
        ticks = await scene.stop()
        engine = OfflineEngine()
        engine.add(ticks)
        engine.finish()
        trades = [each for _, each in scene.fake.tape.sent if each.size]
        volume: dict[str, float] = defaultdict(float)
        count: dict[str, int] = defaultdict(int)
        for candle, _ in engine.candles("1m"):
            volume[candle.symbol] += candle.volume or 0
            count[candle.symbol] += candle.trades or 0
        for symbol in SYMBOLS:
            mine = [each for each in trades if f"FINNHUB:{each.symbol}" == symbol]
            assert count[symbol] == len(mine)
            assert abs(volume[symbol] - sum(each.size for each in mine)) < 1e-6


async def test_an_abort_loses_at_most_what_was_on_the_way(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.until_sent(200)
        await scene.fake.abort()
        await scene.until_streaming(2)
        await scene.until_sent(200)
        ticks = await scene.stop()
        sent = scene.fake.tape.sent
        first, second = (told([each for each in sent if each[0] == number]) for number in (1, 2))
        for symbol, prints in said(ticks).items():
            kept = len(prints) - len(second[symbol])
            assert prints == first[symbol][:kept] + second[symbol]
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), ("gap", "aborted"))}


async def test_when_pings_stop_the_connection_is_dead(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry, frame_every_s=0, ping_every_s=0.2) as scene:
        runner = scene.run(make_feed=ImpatientFeed)
        await scene.until_streaming(1)
        await asyncio.sleep(5)
        assert runner.status.connections == 1, "pings are enough"
        for connection in (2, 3, 4):
            scene.fake.fade()
            began_s = time.monotonic()
            await scene.until_streaming(connection)
            assert time.monotonic() - began_s < 20
        ticks = await scene.stop()
        assert set(map(tuple, controls(ticks).values())) == {(("start", None), *[("gap", "silent")] * 3)}


async def test_rubbish_is_counted_and_a_broken_trade_costs_itself_only(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry, frame_every_s=0) as scene:
        runner = scene.run()
        await scene.until_streaming(1)
        prints = [scene.fake.market.next(name, now_ms()) for name in NAMES]
        await scene.fake.send_rubbish()
        await scene.fake.send(prints, broken=[None, {"s": "AAPL"}, {"s": "AAPL", "p": "1", "t": 1, "v": 1}])
        await scene.fake.send(prints)
        await wait_until_async(lambda: runner.status.frames == scene.fake.tape.frames, 20, "all frames")
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)
        assert sum(map(len, said(ticks).values())) == 2 * len(NAMES)
        assert runner.status.bad_frames == scene.fake.tape.rubbish, (
            "one of the rubbish is a refusal, and one frame broken"
        )
        assert "Something went wrong" in runner.status.refused
        assert scene.fake.accepted == 1


async def test_a_wrong_key_is_told_in_one_line_and_a_right_one_found_later_works(
    kafka: Any, registry: Any, caplog: Any
) -> None:
    async with opened(kafka, registry) as scene:
        runner = scene.run(key=OTHER_KEY)
        await wait_until_async(lambda: runner.status.state == "failed", 20, "the failure to be seen")
        assert "FINNHUB_API_TOKEN" in runner.status.detail
        assert OTHER_KEY not in caplog.text + runner.status.detail
        scene.fake.token = OTHER_KEY
        await scene.until_streaming(1)
        await scene.until_sent(50)
        ticks = await scene.stop()
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_too_many_requests_are_left_alone_for_as_long_as_finnhub_wants(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        runner = scene.run()
        await scene.until_streaming(1)
        scene.fake.refuse(429, retry_after_s=3)
        await scene.fake.close()
        await wait_until_async(lambda: "429" in runner.status.detail, 20, "a refusal")
        scene.fake.refuse(None)
        began_s = time.monotonic()
        await scene.until_streaming(2)
        assert time.monotonic() - began_s > 2
        assert scene.fake.refused == 1
        ticks = await scene.stop()
        causes = {cause for each in controls(ticks).values() for kind, cause in each if kind == "gap"}
        assert causes == {"closed 1001, refused with HTTP 429"}
        assert said(ticks) == told(scene.fake.tape.sent)


async def test_a_second_connection_with_the_key_ends_both_and_the_hole_is_told(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.until_sent(100)
        other = Scene(scene.fake, scene.topic)
        other.run([])
        await wait_until_async(lambda: scene.fake.accepted >= 2, 20, "the other connection")
        await other.runner.stop()
        await other.task
        await scene.until_streaming(2)
        await scene.until_sent(100)
        ticks = await scene.stop()
        assert all(("gap", "aborted") in each for each in controls(ticks).values())


async def test_symbols_beyond_the_plan_get_the_error_text(kafka: Any, registry: Any, caplog: Any) -> None:
    async with opened(kafka, registry, symbols=4) as scene:
        runner = scene.run([*SYMBOLS, "FINNHUB:NOSUCH"])
        await wait_until_async(lambda: len(scene.fake.tape.errors) == 3, 20, "the errors")
        await scene.until_sent(50)
        ticks = await scene.stop()
        assert runner.status.bad_frames == 0
        assert "the venue refuses FINNHUB:NOSUCH: Finnhub says: 'Invalid symbol NOSUCH'" in caplog.text
        assert "Subscribing to too many symbols" in caplog.text
        assert set(said(ticks)) == set(SYMBOLS[:4])


async def test_commands_are_paced(kafka: Any, registry: Any) -> None:
    async with opened(kafka, registry) as scene:
        scene.run()
        await scene.until_streaming(1)
        await scene.stop()
        times = [at_s for at_s, text in scene.fake.commands if "unsubscribe" not in text]
        assert len(times) == len(SYMBOLS)
        assert times[-1] - times[0] >= 0.01 * (len(SYMBOLS) - 1) * 0.9


async def test_a_config_file_of_three_lines_starts_the_source(kafka: Any, registry: Any, tmp_path: Path) -> None:
    async with FakeFinnhub(Market(NAMES), now_ms, token=KEY) as fake:
        config = (
            f'symbols = "FINNHUB:AAPL,FINNHUB:BINANCE:BTCUSDT"\n'
            f'finnhub_api_token = "{KEY}"\n'
            f'kafka_bootstrap_servers = "{kafka.bootstrap}"\n'
        )
        environment = {"SCHEMA_REGISTRY_URL": registry.url}
        output, prefix = await produced("finnhub", fake, tmp_path, config, environment, "--url", fake.url)
        assert KEY not in output
        topic = MarketTopic(kafka, registry, now_ms, f"{prefix}finnhub_market")
        ticks = await topic.read()
        assert said(ticks) == told(fake.tape.sent)
        assert set(said(ticks)) == {"FINNHUB:AAPL", "FINNHUB:BINANCE:BTCUSDT"}
