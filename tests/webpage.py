"""The live page under test: the worker's HTTP side filled by hand instead of by a worker, and how to read the page."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web
from playwright.async_api import Locator, Page, expect

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import BadMessage
from stockstream.models import Candle, Latest
from stockstream.sinks.memory import MemorySink
from stockstream.testing.process import HOST, free_ports
from stockstream.web.guard import Guard
from stockstream.web.keys import ApiKeys
from stockstream.web.live import LiveView
from stockstream.web.routes import install


def now_ms() -> int:
    return int(time.time() * 1000)


class Site:
    """A server on one port that can be stopped and started again, as a worker that restarts: its live view is lost."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://{HOST}:{self.port}/"
        self.sink = MemorySink()
        self.live = live_view()
        self.guard = Guard(ApiKeys(), now_ms=now_ms)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.live = live_view()
        app = web.Application()
        install(app, live=self.live, sink=self.sink, tables=None, checks=[], now_ms=now_ms, guard=self.guard)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def put(self, *states: Candle | Latest) -> None:
        """What the worker would have read from Kafka."""
        for state in states:
            if isinstance(state, Candle):
                self.live.recent.put_candle(state)
            else:
                self.live.recent.put_latest(state)


def row(page: Page, symbol: str) -> Locator:
    """A symbol's row in the watch list."""
    return page.locator(f'#rows [data-symbol="{symbol}"]')


async def legend_shows(page: Page, *texts: str) -> None:
    """Wait until the legend holds each text as a word of its own."""
    for text in texts:
        await expect(page.locator("#legend").get_by_text(text, exact=True).first).to_be_visible()


def live_view() -> LiveView:
    def refuse(_value: bytes) -> Any:
        raise BadMessage("nothing is decoded here")

    async def prepare(_values: Sequence[bytes]) -> None: ...

    view = LiveView(
        {},
        candles_topic="candles",
        latest_topic="latest",
        decode_candle=refuse,
        decode_latest=refuse,
        prepare=prepare,
        now_ms=now_ms,
    )
    view.ready = True
    return view


def candle(
    symbol: str, start_ms: int, interval: str = "1m", close: float = 11.0, version: int = 1, **other: Any
) -> Candle:
    """A closed candle whose body goes from 10 to ``close``."""
    end_ms = start_ms + INTERVALS_MS[interval]
    whole = Candle(
        symbol, interval, "regular", start_ms, end_ms, 10.0, max(10.0, close) + 0.5, min(10.0, close) - 0.5, close,
        5.0, 10.5, 3, True, version, start_ms, end_ms, state="closed",
    )  # fmt: skip
    return replace(whole, **other)


def latest(symbol: str, price: float, version: int = 1, **other: Any) -> Latest:
    at_ms = now_ms()
    whole = Latest(symbol, price, 1.25, 0.5, "regular", at_ms, at_ms, version, version, "yahoo", "NMS", "USD")
    return replace(whole, **other)


def walk(symbol: str, start_ms: int, count: int, interval: str, price: float, seed: int) -> list[Candle]:
    """Closed candles of a price that wanders."""
    chance = random.Random(seed)
    step_ms, made, decimals = INTERVALS_MS[interval], [], 2 if price > 1 else 6
    pull, level = 0.0, price
    for index in range(count):
        pull = 0.85 * pull + chance.gauss(0, 0.0001) + 0.004 * (price - level) / price
        path = [level]
        for _ in range(12):
            path.append(path[-1] * (1 + pull / 12 + chance.gauss(0, 0.0002)))
        level = path[-1]
        opened, high, low, closed = (round(value, decimals) for value in (path[0], max(path), min(path), path[-1]))
        volume = round(abs(chance.gauss(40, 18)) * (1 + 900 * abs(closed / opened - 1)), 4) + 1
        made.append(
            Candle(
                symbol, interval, "regular", start_ms + index * step_ms, start_ms + (index + 1) * step_ms,
                opened, high, low, closed, volume, round((high + low + closed) / 3, decimals), int(volume * 9), True,
                index + 1, start_ms + index * step_ms, start_ms + (index + 1) * step_ms, state="closed",
            )
        )  # fmt: skip
    return made


async def put_market(site: Site) -> None:
    """A day at the market: one symbol with candles of every interval, and prices of some more; all invented."""
    last_price = 0.0
    for interval, step_ms in INTERVALS_MS.items():
        forming_ms = now_ms() // step_ms * step_ms
        candles = walk("BTC-USD", forming_ms - 600 * step_ms, 600, interval, 67_000.0, seed=11)
        candles[-62] = replace(candles[-62], partial=True)
        candles[-24] = replace(candles[-24], gap=True)
        await site.sink.insert_candles(candles)
        opened = candles[-1].close
        last_price = last_price or round(opened * 1.0004, 2)
        low, high = round(opened * 0.9998, 2), round(opened * 1.0006, 2)
        forming = candle(
            "BTC-USD", forming_ms, interval, last_price, 1000, open=opened, low=low, high=high, volume=32.114,
            vwap=opened, trades=208, is_closed=False, state="forming",
        )  # fmt: skip
        site.put(*candles[-20:], forming)
    for index, (symbol, price, percent, exchange, currency) in enumerate(_MARKET):
        source, _, name = symbol.rpartition(":")
        site.put(
            latest(
                symbol,
                last_price if symbol == "BTC-USD" else price,
                change=round(price * percent / 100, 4),
                change_percent=percent,
                source=source.lower() or "yahoo",
                exchange=exchange,
                currency=currency,
                event_time=now_ms() - (200, 900, 2400, 5100)[index % 4] - (86_000 if name == "XRPETH" else 0),
            )
        )


_MARKET = (
    ("AAPL", 228.31, 1.21, "NMS", "USD"),
    ("BINANCE:BTCUSDT", 67_130.2, 1.79, "", "USDT"),
    ("BINANCE:XRPETH", 0.00204512, -0.84, "", "ETH"),
    ("BTC-USD", 67_123.45, 1.83, "CCC", "USD"),
    ("ES=F", 5871.25, 0.18, "CME", "USD"),
    ("ETH-USD", 2641.18, -0.62, "CCC", "USD"),
    ("EURUSD=X", 1.08342, 0.05, "CCY", "USD"),
    ("FINNHUB:TSLA", 219.16, -1.2, "", "USD"),
    ("GOOGL", 163.42, -0.41, "NMS", "USD"),
    ("MSFT", 421.53, 0.4, "NMS", "USD"),
    ("NVDA", 134.22, 2.1, "NMS", "USD"),
    ("SSI:FPT", 134_500.0, 1.43, "HOSE", "VND"),
    ("VCB.VN", 91_200.0, -0.33, "VSE", "VND"),
    ("7203.T", 2611.5, 0.92, "JPX", "JPY"),
    ("^GSPC", 5842.47, 0.2, "SNP", "USD"),
)
