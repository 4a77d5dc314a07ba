"""Workers and a source that allows one connection: it moves from one to the next, and what is missed is told."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
from market_topic import MarketTopic

from stockstream.models import Tick
from stockstream.sources.finnhub.fake import FakeFinnhub, Market
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until_async

NAMES = ["AAPL", "MSFT", "BINANCE:BTCUSDT"]
KEY = "w0rker-k3y"
SLACK_MS = 1000  # between a frame's sending and its reception


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def holes(ticks: list[Tick]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "gap":
            assert tick.until is not None
            found[tick.symbol].append((tick.event_time - SLACK_MS, tick.until + SLACK_MS))
    return found


@pytest.mark.timeout(240)
async def test_the_connection_moves_with_the_workers_and_no_trade_is_missing_without_a_word(
    kafka: Any, registry: Any
) -> None:
    async with FakeFinnhub(Market(NAMES), now_ms, token=KEY, frame_every_s=0.05) as fake:
        settings = {"sink_enabled": "false", "finnhub_url": fake.url, "tick_topics": "yfinance,finnhub_market"}
        with System(kafka.bootstrap, registry.url, "http://127.0.0.1:9", **settings) as system:
            system.environment |= {"SYMBOLS": ",".join(f"FINNHUB:{name}" for name in NAMES), "FINNHUB_API_TOKEN": KEY}

            async def until_trades(what: str) -> None:
                reached = fake.accepted, len(fake.tape.sent)
                await wait_until_async(lambda: len(fake.tape.sent) > reached[1] + 200, 60, what)

            first = await asyncio.to_thread(system.start, "w0")
            await until_trades("trades for the first worker")
            await asyncio.to_thread(system.start, "w1")
            await until_trades("trades with both")
            await asyncio.to_thread(first.stop)
            assert first.exit_code == 0
            await until_trades("trades for the second worker alone")
            accepted = fake.accepted
            await until_trades("more of them")
            assert fake.accepted == accepted, "nobody fights for the connection"
            second = system.workers["w1"]
            await asyncio.to_thread(second.stop)
            logs = first.log.read_text() + second.log.read_text()
            topic = MarketTopic(kafka, registry, now_ms, system.topic("finnhub_market"))
            ticks = await topic.read()
        assert KEY not in logs
        written = Counter(
            (tick.symbol, tick.event_time, tick.price, tick.last_size)
            for tick in ticks
            if tick.kind in ("trade", "quote")
        )
        sent = Counter((f"FINNHUB:{p.symbol}", p.time_ms, p.price, p.size) for _, p in fake.tape.sent)
        assert not written - sent, "nothing comes twice"
        known = holes(ticks)
        lost = sent - written
        assert all(any(begin <= time_ms <= end for begin, end in known[symbol]) for symbol, time_ms, _, _ in lost), lost
        assert lost.total() < sent.total() / 2
