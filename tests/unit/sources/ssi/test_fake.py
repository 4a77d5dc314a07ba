"""What measuring relies on: which messages are sent, when, and at which pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect

from stockstream.sources.ssi.fake import FakeSsi
from stockstream.sources.ssi.feed import SsiFeed

SYMBOLS = ["SSI:VCB", "SSI:FPT"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def served(fake: FakeSsi) -> AsyncIterator[tuple[SsiFeed, ClientConnection]]:
    """A feed that has subscribed trades and quotes, and its socket."""
    consumer_id, secret = map(SecretStr, fake.consumer)
    async with fake:
        feed = SsiFeed(fake.url, ssi_api_url=fake.url, ssi_consumer_id=consumer_id, ssi_consumer_secret=secret)
        place = await feed.locate()
        async with connect(place.url, additional_headers=place.headers) as socket:
            for command in feed.subscribe(SYMBOLS, now_ms()):
                await socket.send(command)
            yield feed, socket


@pytest.mark.parametrize(("quote_share", "kinds"), [(0.0, {"trade"}), (0.5, {"trade", "quote"})])
async def test_quotes_are_a_share_of_the_messages(quote_share: float, kinds: set[str]) -> None:
    fake = FakeSsi(["VCB", "FPT"], now_ms, frame_every_s=0.001, quote_share=quote_share, keeps_hours=False)
    async with served(fake) as (feed, socket):
        ticks = [tick for _ in range(200) for tick in feed.parse(await socket.recv(), now_ms())]
    assert {tick.kind for tick in ticks} == kinds


async def test_the_tape_tells_when_each_trade_was_sent() -> None:
    fake = FakeSsi(["VCB", "FPT"], now_ms, frame_every_s=0.001, keeps_hours=False)
    began_ms = now_ms()
    async with served(fake) as (feed, socket):
        trades = [
            tick for _ in range(100) for tick in feed.parse(await socket.recv(), now_ms()) if tick.kind == "trade"
        ]
    sent_ms = fake.tape.sent_ms
    assert len(sent_ms) == len(fake.tape.sent) >= len(trades) > 100
    assert sent_ms == sorted(sent_ms)
    assert began_ms <= sent_ms[0] <= sent_ms[-1] <= now_ms()
    assert all(tick.producer_timestamp >= at for tick, at in zip(trades, sent_ms, strict=False))


async def test_frames_that_are_overdue_are_sent_at_once() -> None:
    """A pace is kept on average, however late the loop wakes up."""
    fake = FakeSsi(["VCB", "FPT"], now_ms, frame_every_s=0.005, keeps_hours=False)
    async with served(fake) as (_, socket):
        for _ in range(10):
            await socket.recv()
        before = fake.tape.frames
        time.sleep(0.5)  # noqa: ASYNC251 - nothing else may run
        for _ in range(500):
            await asyncio.sleep(0)
        assert fake.tape.frames - before >= 80
