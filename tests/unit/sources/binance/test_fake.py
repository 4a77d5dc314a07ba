"""The fake keeps Binance's limits, and what the ticker and the history read from it is its tape."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import HistoryFailed, RequestFailed
from stockstream.models import Tick
from stockstream.sources.binance.fake import FIRST_ID, FakeBinance, Limits, Tape, Trade
from stockstream.sources.binance.fake.market_data import MarketData
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.history import BinanceHistory
from stockstream.sources.binance.ticker import BinanceTicker
from stockstream.sources.contract import VenueCandle

START_MS = 1_700_000_000_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FULL_HOUR_MS = START_MS // HOUR_MS * HOUR_MS
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def kline_at(minute: int) -> list[object]:
    start_ms = FULL_HOUR_MS + minute * MINUTE_MS
    return [start_ms, "1", "2", "1", "2", "5", start_ms + MINUTE_MS - 1, "7", 3, "1", "1", "0"]


class Market:
    """A fake whose time only the test moves."""

    def __init__(self, trades_per_s: float = 1.0, **options: Any) -> None:
        self.now_ms = START_MS
        self.tape = Tape(SYMBOLS, START_MS, trades_per_s=trades_per_s)
        self.fake = FakeBinance(self.tape, lambda: self.now_ms, steps=False, **options)

    def pass_(self, ms: int) -> None:
        self.now_ms += ms
        self.fake.advance()


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    market = Market(limits=Limits())
    async with market.fake:
        yield market


async def _read_all(socket: Any) -> None:
    while True:
        await socket.recv()


async def command(socket: Any, method: str, *params: str, number: object = 1) -> Any:
    await socket.send(json.dumps({"method": method, "params": params, "id": number}))
    return json.loads(await socket.recv())


async def test_trades_are_streamed_as_documented_with_ids_one_after_the_other(market: Market) -> None:
    async with connect(market.fake.url) as socket:
        assert await command(socket, "SUBSCRIBE", "btcusdt@trade") == {"result": None, "id": 1}
        assert await command(socket, "LIST_SUBSCRIPTIONS", number=2) == {"result": ["btcusdt@trade"], "id": 2}
        market.pass_(60_000)
        made = market.tape.trades["BTCUSDT"]
        frames = [(await socket.recv()).encode() for _ in made]  # type: ignore[union-attr]
    ticks = [BinanceFeed().parse(frame, START_MS)[0] for frame in frames]
    assert [tick.trade_id for tick in ticks] == [FIRST_ID + at for at in range(len(made))]
    assert [tick.price for tick in ticks] == [float(trade.price) for trade in made]
    assert {tick.symbol for tick in ticks} == {"BINANCE:BTCUSDT"}


def test_the_same_seed_gives_the_same_trades() -> None:
    first, second = (list(Tape(SYMBOLS, START_MS, 1.0, seed=3).until(START_MS + HOUR_MS)) for _ in range(2))
    assert first == second != list(Tape(SYMBOLS, START_MS, 1.0, seed=4).until(START_MS + HOUR_MS))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("nonsense", {"code": 3}),
        ("{}", {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 1"}),
        ('{"method":"SING","id":1}', {"code": 2}),
        ('{"method":"SUBSCRIBE","params":["a"],"id":"x"}', {"code": 2}),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', {"code": 2, "id": 1}),
    ],
)
async def test_wrong_commands_are_answered(market: Market, text: str, answer: dict[str, Any]) -> None:
    async with connect(market.fake.url) as socket:
        await socket.send(text)
        assert json.loads(await socket.recv()).items() >= answer.items()


async def test_more_streams_than_allowed_are_refused() -> None:
    async with Market(limits=Limits(streams=3)).fake as fake, connect(fake.url) as socket:
        await command(socket, "SUBSCRIBE", "a@trade", "b@trade")
        refused = await command(socket, "SUBSCRIBE", "c@trade", "d@trade", number=2)
        assert refused == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}


async def test_more_than_five_messages_in_a_second_end_the_connection(market: Market) -> None:
    async with connect(market.fake.url, ping_interval=None) as socket:
        for _ in range(6):
            await socket.send("{}")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(_read_all(socket), 5)
    assert market.fake.gone[-1].ended_by == "too many messages"


async def test_more_attempts_than_allowed_are_refused_with_the_time_to_wait() -> None:
    async with Market(limits=Limits(attempts=2)).fake as fake:
        for _ in range(2):
            async with connect(fake.url):
                pass
        with pytest.raises(InvalidStatus) as refused:
            await connect(fake.url)
        assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (429, "300")


async def test_pings_want_a_pong() -> None:
    async with Market(limits=Limits(ping_every_s=0.3, pong_within_s=0.5)).fake as fake:
        async with connect(fake.url, ping_interval=None) as polite:
            await asyncio.sleep(1.5)
            assert (await command(polite, "LIST_SUBSCRIPTIONS"))["result"] == []
        reader, writer = await asyncio.open_connection("127.0.0.1", int(fake.url.split(":")[2].split("/")[0]))
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert [client.ended_by for client in fake.gone][-1] == "no pong"


async def test_a_connection_is_told_that_its_lifetime_ends_and_then_closed() -> None:
    async with Market(limits=Limits().scaled(100_000)).fake as fake, connect(fake.url) as socket:
        assert json.loads(await asyncio.wait_for(socket.recv(), 5))["data"]["e"] == "serverShutdown"
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_weights_are_counted_then_refused_then_banned() -> None:
    market = Market(limits=Limits(weight_per_minute=100, refusals_before_ban=2))
    async with market.fake as fake, httpx.AsyncClient(base_url=fake.rest_url) as http:
        answers = [await http.get("/api/v3/ticker/24hr") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200, 429, 429, 418, 418, 418]
        assert answers[0].headers["X-MBX-USED-WEIGHT-1M"] == "80"
        assert 1 <= int(answers[1].headers["Retry-After"]) <= 60
        assert 100 <= int(answers[-1].headers["Retry-After"]) <= 120
        with pytest.raises(InvalidStatus) as refused:
            await connect(fake.url)
        assert refused.value.response.status_code == 418


async def past(history: BinanceHistory, symbol: str, from_ms: int, until_ms: int) -> list[Tick]:
    return [tick async for page in history.trades(symbol, from_ms, until_ms) for tick in page]


async def test_the_history_is_the_tape(market: Market) -> None:
    market.pass_(2 * HOUR_MS)
    history = BinanceHistory(market.fake.rest_url)
    made = market.tape.trades["BTCUSDT"]
    assert len(made) > 3000, "several pages"
    from_ms, until_ms = START_MS + HOUR_MS // 3, START_MS + HOUR_MS
    ticks = await past(history, "BINANCE:BTCUSDT", from_ms, until_ms)
    wanted = [trade for trade in made if from_ms <= trade.time_ms <= until_ms]
    assert [(tick.trade_id, tick.event_time, tick.price, tick.last_size) for tick in ticks] == [
        (trade.trade_id, trade.time_ms, float(trade.price), float(trade.quantity)) for trade in wanted
    ]
    everything = await past(history, "BINANCE:ETHUSDT", 0, market.now_ms + HOUR_MS)
    assert [tick.trade_id for tick in everything] == [trade.trade_id for trade in market.tape.trades["ETHUSDT"]]
    edge = made[1500].time_ms
    assert [tick.trade_id for tick in await past(history, "BINANCE:BTCUSDT", edge, edge)] == [
        trade.trade_id for trade in made if trade.time_ms == edge
    ]
    assert await past(history, "BINANCE:BTCUSDT", market.now_ms + 1, market.now_ms + HOUR_MS) == []
    await history.close()


def past_row(trade_id: int) -> dict[str, object]:
    return {"id": trade_id, "price": "1", "qty": "2", "time": START_MS}


def given(monkeypatch: pytest.MonkeyPatch, aggregates: object, *pages: object) -> None:
    """Have the fake answer with these rows instead of its tape's."""
    left = iter(pages)
    monkeypatch.setattr(MarketData, "answer", lambda _, path, __: (200, aggregates if "agg" in path else next(left)))


@pytest.mark.parametrize("aggregates", [[{}], [["x"]], [{"f": "5"}], [{"f": None}], [{"f": True}]])
async def test_a_history_that_does_not_say_where_it_begins_fails(
    market: Market, monkeypatch: pytest.MonkeyPatch, aggregates: object
) -> None:
    given(monkeypatch, aggregates, [past_row(5)])
    history = BinanceHistory(market.fake.rest_url)
    with pytest.raises(HistoryFailed, match="cannot be read"):
        await past(history, "BINANCE:BTCUSDT", START_MS, START_MS)
    await history.close()


PAGE = [past_row(number) for number in range(5, 1005)]


@pytest.mark.parametrize(
    "pages",
    [
        [[]],
        [[past_row(6)]],
        [[past_row(5), past_row(9)]],
        [[past_row(5), past_row(5)]],
        [PAGE, [past_row(1006)]],
        [PAGE[:500] + PAGE[501:]],
    ],
)
async def test_a_history_with_trades_missing_fails(
    market: Market, monkeypatch: pytest.MonkeyPatch, pages: list[object]
) -> None:
    """Else the hole that it shall repair would be told as repaired."""
    given(monkeypatch, [{"f": 5}], *pages)
    history = BinanceHistory(market.fake.rest_url)
    with pytest.raises(HistoryFailed, match="lacks trades from id"):
        await past(history, "BINANCE:BTCUSDT", START_MS, START_MS)
    await history.close()


async def test_a_history_may_end_with_a_page(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [{"f": 5}], PAGE, [])
    history = BinanceHistory(market.fake.rest_url)
    assert len(await past(history, "BINANCE:BTCUSDT", START_MS, START_MS)) == 1000
    await history.close()


async def test_a_history_that_is_not_given_says_why(market: Market) -> None:
    history = BinanceHistory(market.fake.rest_url)
    with pytest.raises(HistoryFailed, match="Invalid symbol"):
        await past(history, "BINANCE:NOTHING", START_MS, START_MS)
    await history.close()


@asynccontextmanager
async def told_to_wait(market: Market) -> AsyncIterator[tuple[BinanceHistory, list[float]]]:
    """A history whose sleeps end the minute that weights are counted in, and those sleeps; it keeps to them."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        market.fake.doorkeeper.used = market.fake.doorkeeper.refusals = 0
        history._rest._budget.held_until_s = 0.0

    async with market.fake as fake:
        history = BinanceHistory(fake.rest_url, sleep)
        yield history, slept
        assert slept
        assert all(0 < seconds <= 60 for seconds in slept)
        assert 418 not in fake.doorkeeper.statuses
        await history.close()


async def test_the_history_waits_where_it_is_told_to() -> None:
    market = Market()
    async with told_to_wait(market) as (history, _):
        market.pass_(HOUR_MS)
        market.fake.doorkeeper.used, market.fake.doorkeeper.minute = 10**6, -1
        market.fake.doorkeeper.limits = replace(Limits(), weight_per_minute=28)
        ticks = await past(history, "BINANCE:BTCUSDT", START_MS, market.now_ms)
        assert len(ticks) == len(market.tape.trades["BTCUSDT"])


async def klines(history: BinanceHistory, interval: str, from_ms: int, until_ms: int) -> list[VenueCandle]:
    pages = history.candles("BINANCE:BTCUSDT", interval, from_ms, until_ms)
    return [candle async for page in pages for candle in page]


def counted(trades: Sequence[Trade], interval: str, start_ms: int) -> VenueCandle:
    first, end = (
        bisect_left(trades, at_ms, key=lambda trade: trade.time_ms)
        for at_ms in (start_ms, start_ms + INTERVALS_MS[interval])
    )
    within = trades[first:end]
    prices = [float(trade.price) for trade in within]
    volume = sum(round(float(trade.quantity) * 1e8) for trade in within) / 1e8
    return VenueCandle(interval, start_ms, prices[0], max(prices), min(prices), prices[-1], volume, len(within))


@pytest.mark.parametrize("interval", INTERVALS_MS)
async def test_the_klines_are_those_of_the_tape(interval: str) -> None:
    market = Market(trades_per_s=0.02)
    length_ms = INTERVALS_MS[interval]
    async with market.fake as fake:
        market.pass_(3 * DAY_MS)
        made = market.tape.trades["BTCUSDT"]
        history = BinanceHistory(fake.rest_url)
        found = await klines(history, interval, 0, market.now_ms + 1)
        first_ms = made[0].time_ms // length_ms * length_ms
        starts_ms = list(range(first_ms, market.now_ms + 1, length_ms))
        assert [candle.window_start for candle in found] == starts_ms
        assert fake.doorkeeper.weighed == 2 * -(-len(starts_ms) // 1000)
        traded = [candle for candle in found if candle.trades]
        assert traded == [counted(made, interval, candle.window_start) for candle in traded]
        assert sum(candle.trades for candle in traded) == len(made)
        if interval == "1m":
            assert len(traded) < len(found) * 0.7, "some minutes are empty"
            assert all(
                (now.open, now.high, now.low, now.close, now.volume) == (*[before.close] * 4, 0)
                for before, now in pairwise(found)
                if not now.trades
            )
        from_ms, until_ms = starts_ms[1] - length_ms // 2, starts_ms[-1]
        assert await klines(history, interval, from_ms, until_ms) == found[1:-1], "from any time, not until its end"
        assert await klines(history, interval, starts_ms[0], starts_ms[0]) == []
        assert await klines(history, interval, market.now_ms + length_ms, market.now_ms + 9 * length_ms) == []
        await history.close()


async def test_full_pages_are_asked_for_once() -> None:
    market = Market(trades_per_s=0.02)
    async with market.fake as fake:
        market.pass_(DAY_MS * 2)
        history = BinanceHistory(fake.rest_url)
        first_ms = market.tape.trades["BTCUSDT"][0].time_ms // MINUTE_MS * MINUTE_MS
        assert len(await klines(history, "1m", first_ms, first_ms + 2000 * MINUTE_MS)) == 2000
        assert fake.doorkeeper.statuses == [200, 200]
        await history.close()


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"symbol": "NOTHING", "interval": "1m"}, 400, -1121),
        ({"symbol": "BTCUSDT", "interval": "7m"}, 400, -1120),
        ({"symbol": "BTCUSDT", "interval": "1M"}, 400, -1120),
        ({"symbol": "BTCUSDT"}, 400, -1102),
    ],
)
async def test_klines_that_are_not_to_be_had_are_refused(
    market: Market, query: dict[str, str], status: int, code: int
) -> None:
    async with httpx.AsyncClient(base_url=market.fake.rest_url) as http:
        answer = await http.get("/api/v3/klines", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_klines_without_a_start_are_the_last(market: Market) -> None:
    market.pass_(HOUR_MS)
    async with httpx.AsyncClient(base_url=market.fake.rest_url) as http:
        query = {"symbol": "BTCUSDT", "interval": "1m", "limit": "3"}
        rows = (await http.get("/api/v3/klines", params=query)).json()
    last_ms = market.now_ms // MINUTE_MS * MINUTE_MS
    assert [row[0] for row in rows] == [last_ms - 2 * MINUTE_MS, last_ms - MINUTE_MS, last_ms]
    assert [row[6] - row[0] for row in rows] == [MINUTE_MS - 1] * 3


async def test_klines_of_an_unknown_symbol_fail_and_say_why(market: Market) -> None:
    history = BinanceHistory(market.fake.rest_url)
    with pytest.raises(HistoryFailed, match="Invalid symbol"):
        [page async for page in history.candles("BINANCE:NOTHING", "1m", START_MS, START_MS + HOUR_MS)]
    await history.close()


@pytest.mark.parametrize("rows", [[[0]], ["x"], [kline_at(-1)], [kline_at(1), kline_at(1)], [kline_at(60)], {}])
async def test_klines_that_were_not_asked_for_end_the_history(
    market: Market, monkeypatch: pytest.MonkeyPatch, rows: object
) -> None:
    monkeypatch.setattr(MarketData, "answer", lambda *_: (200, rows))
    history = BinanceHistory(market.fake.rest_url)
    with pytest.raises(HistoryFailed):
        await klines(history, "1m", FULL_HOUR_MS, FULL_HOUR_MS + HOUR_MS)
    await history.close()


async def test_klines_wait_where_they_are_told_to() -> None:
    market = Market(trades_per_s=0.02)
    async with told_to_wait(market) as (history, slept):
        market.pass_(2 * DAY_MS)
        market.fake.doorkeeper.limits = replace(Limits(), weight_per_minute=3)
        first_ms = market.tape.trades["BTCUSDT"][0].time_ms // MINUTE_MS * MINUTE_MS
        minutes = (market.now_ms - first_ms) // MINUTE_MS
        assert len(await klines(history, "1m", first_ms, first_ms + minutes * MINUTE_MS)) == minutes > 2 * 1430
        assert market.fake.doorkeeper.statuses.count(429) == len(slept)


async def test_the_ticker_tells_what_has_changed(market: Market) -> None:
    ticker = BinanceTicker(market.fake.rest_url)
    symbols = [f"BINANCE:{name}" for name in SYMBOLS]
    market.pass_(HOUR_MS)
    quotes = await ticker.ticks(symbols, lambda: market.now_ms)
    assert {quote.symbol: quote.price for quote in quotes} == {
        f"BINANCE:{name}": float(trades[-1].price) for name, trades in market.tape.trades.items()
    }
    assert {quote.kind for quote in quotes} == {"quote"}
    assert {quote.trades_24h for quote in quotes} == {len(trades) for trades in market.tape.trades.values()}
    assert await ticker.ticks(symbols, lambda: market.now_ms) == []
    market.pass_(HOUR_MS)
    assert len(await ticker.ticks(symbols, lambda: market.now_ms)) == 2
    assert market.fake.doorkeeper.weighed == 6
    await ticker.close()


async def test_a_symbol_that_binance_does_not_know_costs_the_others_nothing(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    ticker = BinanceTicker(market.fake.rest_url)
    market.pass_(HOUR_MS)
    wanted = ["BINANCE:BTCUSDT", "BINANCE:NOTHING"]
    assert [quote.symbol for quote in await ticker.ticks(wanted, lambda: market.now_ms)] == ["BINANCE:BTCUSDT"]
    assert "Binance knows no BINANCE:NOTHING" in caplog.text
    statuses = len(market.fake.doorkeeper.statuses)
    market.pass_(HOUR_MS)
    assert len(await ticker.ticks(wanted, lambda: market.now_ms)) == 1
    assert len(market.fake.doorkeeper.statuses) == statuses + 1
    await ticker.close()


async def test_whoever_is_refused_does_not_ask_again_before_its_time() -> None:
    market = Market(limits=Limits(weight_per_minute=1))
    async with market.fake as fake:
        ticker = BinanceTicker(fake.rest_url)
        for _ in range(5):
            with pytest.raises(RequestFailed) as refused:
                await ticker.ticks(["BINANCE:BTCUSDT"], lambda: market.now_ms)
            assert 0 < (refused.value.retry_after_s or 0) <= 60
        assert fake.doorkeeper.statuses == [429]
        await ticker.close()


async def test_a_ban_and_the_firewall_are_fatal_and_told(market: Market) -> None:
    market.fake.doorkeeper.ban(asyncio.get_running_loop().time())
    ticker = BinanceTicker(market.fake.rest_url)
    with pytest.raises(RequestFailed, match="has banned this address") as refused:
        await ticker.ticks(["BINANCE:BTCUSDT"], lambda: market.now_ms)
    assert refused.value.is_fatal
    await ticker.close()
