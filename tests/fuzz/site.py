"""The HTTP side of a worker without a Kafka, served on loopback: real routes, guard and views."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from fuzz.records import CANDLES, T0_MS
from whole import OneSchema

from stockstream.codecs import Encoder
from stockstream.codecs.avro import Decoder
from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import BadMessage
from stockstream.models import LATEST_SCHEMA, Candle, Latest, Subscription
from stockstream.models.tick import Tick
from stockstream.sinks.memory import MemorySink
from stockstream.tables.gaps import GapLedger, encode_control
from stockstream.web.guard import Guard
from stockstream.web.health import Check
from stockstream.web.keys import READ, SCOPES, ApiKeys, key_of
from stockstream.web.limits import Limits
from stockstream.web.live import LiveView
from stockstream.web.routes import install
from stockstream.web.subscriptions import SubscriptionViews
from stockstream.web.tables import TableViews

SYMBOLS = ["AAPL", "BTC-USD", "BINANCE:BTCUSDT"]
READER, WRITER = "the reader's secret", "the secret of one who may all"
_QUIET = logging.getLogger("fuzz.site")
_QUIET.setLevel(logging.CRITICAL)  # what is no request is told by the hundred
_OWN_URL = "http://127.0.0.1:1"
_UNLIMITED = 10**9
_LIMITS = Limits(changes_per_minute=_UNLIMITED, failed_keys_per_minute=_UNLIMITED)


@dataclass
class _Watched:
    watched: dict[str, Subscription] = field(default_factory=dict)

    async def add(self, symbols: Sequence[str], source: str, added_by: str) -> list[Subscription]:
        added = [self.watched.setdefault(each, Subscription(each, source, added_by, T0_MS)) for each in symbols]
        while len(self.watched) > 50:
            del self.watched[next(iter(self.watched))]
        return added

    async def remove(self, symbol: str) -> bool:
        return self.watched.pop(symbol, None) is not None


class _Rows:
    """What the owner of every partition holds."""

    def __init__(self, candles: Sequence[Candle], prices: Sequence[Latest]) -> None:
        self._candles, encode = candles, Encoder(LATEST_SCHEMA, 1)
        self._prices = {price.symbol: encode(price) for price in prices}

    def candles(self, interval: str, symbol: str, limit: int) -> list[Candle]:
        return [each for each in self._candles if (each.interval, each.symbol) == (interval, symbol)][:limit]

    def latest(self, symbol: str) -> bytes | None:
        return self._prices.get(symbol)


def application() -> web.Application:
    """The routes of a worker that knows something of each of `SYMBOLS`; reads need a key."""
    candles = [
        replace(CANDLES[number % 2], symbol=symbol, interval=interval, window_start=start, window_end=start + step)
        for symbol in SYMBOLS
        for interval, step in INTERVALS_MS.items()
        for number, start in enumerate(range(T0_MS - T0_MS % step - 5 * step, T0_MS, step))
    ]
    prices = [
        Latest(symbol, 37_000.5, -12.25, -0.033, "regular", T0_MS, T0_MS + 5, 7, 1, "yahoo", "CCC", bid=1.5)
        for symbol in SYMBOLS
    ]
    live, sink, ledger, rows = _live(candles, prices), MemorySink(), _ledger(), _Rows(candles, prices)
    for candle in candles:
        sink.stored_candles[candle.key] = candle
    app = web.Application()
    owner = SimpleNamespace(
        consumer=SimpleNamespace(key_partition=lambda topic, key: 0),
        assignor=SimpleNamespace(_external_tps_url=SimpleNamespace(get=lambda tp: _OWN_URL)),
        conf=SimpleNamespace(canonical_url=_OWN_URL),
    )
    decoder = Decoder(OneSchema(LATEST_SCHEMA), Latest, LATEST_SCHEMA)
    names = [*(f"candles_{interval}" for interval in INTERVALS_MS), "latest"]
    topic = SimpleNamespace(get_topic_name=lambda: "ticks")
    install(
        app,
        live=live,
        sink=sink,
        tables=TableViews(owner, topic, rows, decoder, names, lambda: T0_MS),
        subscriptions=SubscriptionViews(_Watched(), lambda symbol: "yahoo"),  # type: ignore[arg-type]
        gaps=ledger,
        checks=[lambda: Check("kafka", True, "ok")],
        now_ms=lambda: T0_MS,
        guard=Guard(
            ApiKeys([key_of(READER, "reader", [READ]), key_of(WRITER, "writer", SCOPES)]),
            reads_are_open=False,
            limits=_LIMITS,
            now_ms=lambda: T0_MS,
        ),
    )
    return app


def _live(candles: Sequence[Candle], prices: Sequence[Latest]) -> LiveView:
    def refuse(_value: bytes) -> Any:
        raise BadMessage("nothing is decoded here")

    async def prepare(_values: Sequence[bytes]) -> None: ...

    live = LiveView(
        {},
        candles_topic="candles",
        latest_topic="latest",
        decode_candle=refuse,
        decode_latest=refuse,
        prepare=prepare,
        now_ms=lambda: T0_MS,
    )
    live.ready = True
    for candle in candles:
        live.recent.put_candle(candle)
    for price in prices:
        live.recent.put_latest(price)
    return live


def _ledger() -> GapLedger:
    async def never(_key: bytes, _value: bytes | None) -> None:
        raise AssertionError("nothing is to be sent")

    ledger = GapLedger({}, "gaps", send=never, hopeless=lambda gap: None, now_ms=lambda: T0_MS)
    ledger.follower.ready = True
    for place, symbol in enumerate(SYMBOLS):
        for kind in ("gap", "repair")[: 1 + place % 2]:
            tick = Tick(symbol, T0_MS - 9, kind=kind, until=T0_MS, cause="silent", producer_timestamp=T0_MS)  # type: ignore[arg-type]
            key, value = encode_control(2 * place + (kind == "repair"), tick)
            ledger._take(SimpleNamespace(key=key, value=value))  # type: ignore[arg-type]
    return ledger


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """Serve `application` on loopback; gives its port."""
    runner = web.AppRunner(application(), shutdown_timeout=1, logger=_QUIET)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
