"""The worker's HTTP side without a worker: its live view and its sink are filled by hand."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import BadMessage
from stockstream.models import Candle, Latest
from stockstream.sinks.memory import MemorySink
from stockstream.testing.process import HOST, free_ports
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
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.live = live_view()
        app = web.Application()
        install(app, live=self.live, sink=self.sink, tables=None, checks=[], now_ms=now_ms)
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
