"""The fake against a bare WebSocket client: it does what Yahoo has been seen to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stockstream.models import Tick
from stockstream.sources.yahoo.fake import FakeYahoo, Market, instruments
from stockstream.sources.yahoo.parse import parse
from stockstream.testing.wait import wait_until_async

START_MS = 1_763_391_600_000  # a Monday, 15:00 UTC


class Clock:
    now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
async def fake() -> AsyncIterator[FakeYahoo]:
    clock = Clock()
    async with FakeYahoo(Market(instruments(), START_MS), clock) as server:
        yield server


@pytest.fixture
async def client(fake: FakeYahoo) -> AsyncIterator[ClientConnection]:
    async with connect(fake.url, max_queue=None) as socket:  # what nobody reads must not keep it from closing
        yield socket


def clock_of(fake: FakeYahoo) -> Clock:
    clock = fake._now_ms
    assert isinstance(clock, Clock)
    return clock


async def say(client: ClientConnection, **command: Any) -> None:
    await client.send(json.dumps(command))


async def next_tick(client: ClientConnection) -> Tick:
    tick = parse(await asyncio.wait_for(client.recv(), 10), START_MS)
    assert tick is not None
    return tick


async def until_served(fake: FakeYahoo, *symbols: str) -> None:
    await wait_until_async(lambda: [list(symbols)] == fake.connections, 10, "the subscription")


async def test_a_subscription_is_answered_with_the_last_price_possibly_days_old(client: ClientConnection) -> None:
    symbols = [each.symbol for each in instruments()][:100]
    await say(client, subscribe=symbols)
    ticks = [await next_tick(client) for _ in symbols]
    assert [tick.symbol for tick in ticks] == symbols
    ages_ms = [START_MS - tick.event_time for tick in ticks]
    assert min(ages_ms) >= 60_000
    assert max(ages_ms) > 2 * 86_400_000


async def test_the_first_hundred_symbols_count_and_unknown_ones_use_a_place(
    fake: FakeYahoo, client: ClientConnection
) -> None:
    known = [each.symbol for each in instruments()]
    await say(client, subscribe=["NOSUCH", *known[:50]])
    await say(client, subscribe=known)
    await until_served(fake, "NOSUCH", *known[:99])
    await say(client, unsubscribe=["NOSUCH"])
    await say(client, subscribe=[known[200]])
    await until_served(fake, *known[:99], known[200])


async def test_a_symbol_is_told_at_most_once_a_second(fake: FakeYahoo, client: ClientConnection) -> None:
    await say(client, subscribe=["AAPL"])
    await next_tick(client)
    for _ in range(20):
        clock_of(fake).now_ms += 250
        fake.advance()
    traded = [trade for trade in fake.tape.trades if trade.symbol == "AAPL"]
    told = [sent for sent in fake.tape.sent if not sent.is_last_known]
    assert len(told) < len(traded)
    assert len(told) >= 3
    assert all(after.sent_ms - before.sent_ms >= 1000 for before, after in pairwise(told))
    for sent in told:
        tick = await next_tick(client)
        assert (tick.symbol, tick.event_time, tick.price) == (sent.symbol, sent.time_ms, sent.price)
        assert tick.day_volume == sent.volume
        assert tick.event_time % 1000 == 0


async def test_every_trade_is_told_if_asked_for() -> None:
    clock = Clock()
    async with (
        FakeYahoo(Market(instruments(), START_MS), clock, snapshot_every_ms=0) as fake,
        connect(fake.url) as client,
    ):
        await say(client, subscribe=["AAPL", "BTC-USD"])
        await next_tick(client)
        await next_tick(client)
        clock.now_ms += 5000
        fake.advance()
        traded = [trade for trade in fake.tape.trades if trade.symbol in ("AAPL", "BTC-USD")]
        assert len(traded) > 5
        for trade in traded:
            tick = await next_tick(client)
            assert (tick.symbol, tick.price, tick.event_time) == (
                trade.symbol,
                trade.price,
                trade.time_ms // 1000 * 1000,
            )
            if tick.symbol == "BTC-USD":
                assert (tick.day_volume, tick.volume_24h) == (-1, trade.volume)
            else:
                assert tick.day_volume == trade.volume


async def test_without_a_tape_everything_is_told_and_nothing_kept() -> None:
    clock = Clock()
    market = Market(instruments(), START_MS)
    async with FakeYahoo(market, clock, snapshot_every_ms=0, keep_tape=False) as fake, connect(fake.url) as client:
        await say(client, subscribe=["AAPL"])
        await next_tick(client)
        clock.now_ms += 5000
        fake.advance()
        assert (await next_tick(client)).event_time >= START_MS
        assert (fake.tape.trades, fake.tape.sent) == ([], [])


@pytest.mark.parametrize(
    "command", ["no JSON", "[]", '{"subscribe":"AAPL"}', '{"subscribe":[null]}', '{"hello":[]}', '{"subscribe":{}}']
)
async def test_a_malformed_command_drops_the_connection_without_a_code(client: ClientConnection, command: str) -> None:
    await client.send(command)
    with pytest.raises(ConnectionClosed) as ended:
        await asyncio.wait_for(client.recv(), 10)
    assert ended.value.rcvd is None


async def test_empty_commands_are_fine(fake: FakeYahoo, client: ClientConnection) -> None:
    for command in ("{}", "", " \n"):
        await client.send(command)
    await say(client, subscribe=["AAPL"])
    assert (await next_tick(client)).symbol == "AAPL"


async def test_faults_come_on_order(fake: FakeYahoo) -> None:
    async with connect(fake.url) as first:
        await say(first, subscribe=["AAPL"])
        await next_tick(first)
        assert await fake.send_rubbish() == fake.tape.rubbish > 3
        received = [await asyncio.wait_for(first.recv(decode=False), 10) for _ in range(fake.tape.rubbish)]
        assert b"no JSON" in received
        fake.be_silent()
        clock_of(fake).now_ms += 60_000
        fake.advance()
        await say(first, subscribe=["MSFT"])
        await (await first.ping())
        assert [sent.symbol for sent in fake.tape.sent] == ["AAPL"]
        async with connect(fake.url) as another:
            await say(another, subscribe=["MSFT"])
            assert (await next_tick(another)).symbol == "MSFT"
        fake.be_silent(False)
        await fake.close(1001)
        with pytest.raises(ConnectionClosed) as ended:
            await first.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001
    fake.refuse()
    with pytest.raises(InvalidStatus):
        await connect(fake.url)
    fake.refuse(None)
    async with connect(fake.url) as second:
        await say(second, subscribe=["AAPL"])
        await next_tick(second)
        await fake.abort()
        with pytest.raises(ConnectionClosed) as cut:
            await second.recv()
        assert cut.value.rcvd is None
    port = fake.port
    await fake.stop()
    with pytest.raises(ConnectionRefusedError):
        await connect(fake.url)
    await fake.start()
    assert fake.port == port
    async with connect(fake.url):
        pass
