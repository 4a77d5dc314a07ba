from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.adapters import trading_of
from stockstream.errors import SinkUnreachable
from stockstream.models import Candle, Latest
from stockstream.settings import Settings
from stockstream.sinks.memory import MemorySink
from stockstream.web.live import LiveView
from stockstream.web.routes import install
from stockstream.web.times import rfc3339

Client = TestClient[web.Request, web.Application]
MakeCandle = Callable[..., Candle]
Serve = Callable[[web.Application], Awaitable[Client]]


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
async def client(live: LiveView, sink: MemorySink, now_ms: Callable[[], int], serve: Serve) -> Client:
    app = web.Application()
    install(app, live=live, sink=sink, tables=None, checks=[], now_ms=now_ms)
    return await serve(app)


async def candles(client: Client, query: str = "", symbol: str = "BTC-USD") -> list[dict[str, Any]]:
    response = await client.get(f"/candles/{quote(symbol, safe='')}{query}")
    assert response.status == 200, await response.text()
    answer: list[dict[str, Any]] = (await response.json())["candles"]
    return answer


async def test_a_candle_as_it_is_answered(client: Client, sink: MemorySink, make_candle: MakeCandle) -> None:
    stored = make_candle(version=2**63 - 1, gap=True, vwap=None)
    await sink.insert_candles([stored])
    response = await client.get("/candles/BTC-USD")
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert await response.json() == {
        "symbol": "BTC-USD",
        "interval": "1m",
        "session": "regular",
        "candles": [
            {
                "window_start": "2023-11-14T22:20:00.000Z",
                "window_start_ms": 1_700_000_400_000,
                "window_end": "2023-11-14T22:21:00.000Z",
                "window_end_ms": 1_700_000_460_000,
                "session_open": "2023-11-14T22:20:00.000Z",
                "session_open_ms": 1_700_000_400_000,
                "session_close": "2023-11-14T22:21:00.000Z",
                "session_close_ms": 1_700_000_460_000,
                "open": 10.0,
                "high": 12.5,
                "low": 9.5,
                "close": 11.0,
                "volume": 4.25,
                "vwap": None,
                "trades": 3,
                "is_closed": True,
                "state": "closed",
                "version": "9223372036854775807",
                "partial": False,
                "gap": True,
                "corrected": False,
            }
        ],
    }


async def test_stored_candles_are_overlaid_with_live_ones(
    client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle
) -> None:
    everything = [make_candle(window) for window in range(-6, 0)]
    random.Random(1).shuffle(everything)
    await sink.insert_candles(everything)
    live.recent.put_candle(make_candle(-1, version=2, close=12.0))
    live.recent.put_candle(make_candle(-2, version=0, close=9.5))
    live.recent.put_candle(make_candle(0, version=1, is_closed=False, state="forming"))
    got = await candles(client, "?limit=3")
    assert [(each["window_start_ms"], each["version"], each["state"]) for each in got] == [
        (make_candle(-2).window_start, "1", "closed"),
        (make_candle(-1).window_start, "2", "closed"),
        (make_candle(0).window_start, "1", "forming"),
    ]


async def test_the_range_holds_its_start_and_not_its_end(
    client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle
) -> None:
    await sink.insert_candles([make_candle(window) for window in range(-9, -3)])
    for window in range(-3, 1):
        live.recent.put_candle(make_candle(window))
    start, end = make_candle(-5).window_start, make_candle(-1).window_start
    expected = [make_candle(window).window_start for window in range(-5, -1)]
    for query in (f"?start={start}&end={end}", f"?start={rfc3339(start)}&end={rfc3339(end)}"):
        assert [each["window_start_ms"] for each in await candles(client, query)] == expected
    assert [each["window_start_ms"] for each in await candles(client, f"?end={end}&limit=1")] == expected[-1:]
    assert len(await candles(client, f"?start={start}")) == 6


async def test_filling_is_asked_for(client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle) -> None:
    await sink.insert_candles([make_candle(-9), make_candle(-4)])
    live.recent.put_candle(make_candle(0))
    assert len(await candles(client)) == len(await candles(client, "?fill=none")) == 3
    filled = await candles(client, "?fill=previous")
    assert [each["trades"] for each in filled] == [3, 0, 0, 0, 0, 3, 0, 0, 0, 3]
    assert filled[1] | {"open": 11.0, "high": 11.0, "low": 11.0, "close": 11.0, "volume": 0.0} == filled[1]
    assert filled[1]["vwap"] is None
    assert [each["trades"] for each in await candles(client, "?fill=previous&limit=6")] == [0, 3, 0, 0, 0, 3]


@pytest.mark.parametrize(
    ("exchange", "days"),
    [
        (None, ["2026-11-25", "2026-11-27", "2026-11-30"]),  # as the name of the symbol says: New York, Thanksgiving
        ("NMS", ["2026-11-25", "2026-11-27", "2026-11-30"]),
        ("HKG", ["2026-11-25", "2026-11-26", "2026-11-27", "2026-11-30"]),
        ("nobody's", ["2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28", "2026-11-29", "2026-11-30"]),
    ],
)
async def test_days_are_filled_by_the_calendar_of_the_exchange_that_the_newest_price_names(
    live: LiveView,
    sink: MemorySink,
    now_ms: Callable[[], int],
    serve: Serve,
    make_candle: MakeCandle,
    make_latest: Callable[..., Latest],
    exchange: str | None,
    days: list[str],
) -> None:
    app = web.Application()
    install(app, live=live, sink=sink, tables=None, checks=[], now_ms=now_ms, trading=trading_of(Settings()))
    first, last = (int(datetime.fromisoformat(f"{day}T00:00:00Z").timestamp() * 1000) for day in (days[0], days[-1]))
    await sink.insert_candles([make_candle(symbol="AAPL", interval="1d", window_start=at) for at in (first, last)])
    if exchange is not None:
        live.recent.put_latest(make_latest("AAPL", exchange=exchange, source="yahoo"))
    found = await candles(await serve(app), "?interval=1d&fill=previous", "AAPL")
    assert [each["window_start"][:10] for each in found] == days


async def test_interval_and_session_choose_the_series(
    client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle
) -> None:
    await sink.insert_candles([make_candle(interval="1d", close=1.5), make_candle(session="extended", close=2.5)])
    live.recent.put_candle(make_candle(interval="5m", close=3.5))
    closes = [
        [each["close"] for each in await candles(client, query)]
        for query in ("?interval=1d", "?session=extended", "?interval=5m", "?interval=1m&session=regular")
    ]
    assert closes == [[1.5], [2.5], [3.5], []]


@pytest.mark.parametrize("symbol", ["BTC/USD", "ES=F", "^GSPC", "FINNHUB:BINANCE:BTCUSDT"])
async def test_symbols_with_signs_are_found_by_their_encoded_path(
    client: Client, sink: MemorySink, make_candle: MakeCandle, symbol: str
) -> None:
    await sink.insert_candles([make_candle(symbol=symbol)])
    assert len(await candles(client, symbol=symbol)) == 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("interval=2m", "1m, 5m, 1d"),
        ("interval=", "1m, 5m, 1d"),
        ("limit=0", "1 to 10000"),
        ("limit=10001", "1 to 10000"),
        ("limit=-1", "1 to 10000"),
        ("limit=ten", "1 to 10000"),
        ("limit=" + "9" * 4000, "1 to 10000"),
        ("limit=%C2%B2", "1 to 10000"),
        ("fill=next", "none, previous"),
        ("session=night", "regular, extended"),
        ("start=yesterday", "epoch milliseconds"),
        ("end=2023-11-14", "epoch milliseconds"),
        ("start=2000&end=2000", "start must lie before end"),
        ("start=2001&end=2000", "start must lie before end"),
        ("intreval=1m", "interval, start, end, limit, fill, session"),
        ("source=live", "interval, start, end, limit, fill, session"),
        ("limit=5&limit=6", "more than once"),
    ],
)
async def test_a_wrong_parameter_is_refused_and_named(client: Client, query: str, says: str) -> None:
    response = await client.get(f"/candles/BTC-USD?{query}")
    assert response.status == 400
    assert response.content_type == "application/problem+json"
    detail = (await response.json())["detail"]
    assert says in detail
    assert query.split("=")[0] in detail


async def test_what_is_no_symbol_is_refused(client: Client) -> None:
    response = await client.get("/candles/a%20b")
    assert response.status == 400
    assert (await response.json())["type"] == "urn:stockstream:problem:invalid-symbol"


async def test_a_known_symbol_without_candles_in_the_range_is_no_unknown_one(
    client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle
) -> None:
    await sink.insert_candles([make_candle(symbol="STORED", session="extended")])
    live.recent.put_candle(make_candle(symbol="LIVE"))
    for symbol in ("STORED", "LIVE"):
        assert await candles(client, "?end=1000", symbol) == []
    response = await client.get("/candles/NONE")
    assert response.status == 404
    assert "NONE" in (await response.json())["detail"]


async def test_before_the_live_view_has_caught_up_no_symbol_is_called_unknown(
    client: Client, live: LiveView, sink: MemorySink, make_candle: MakeCandle
) -> None:
    live.ready = False
    await sink.insert_candles([make_candle()])
    assert len(await candles(client)) == 1
    response = await client.get("/candles/NONE")
    assert response.status == 503
    assert response.headers["Retry-After"]


async def test_a_storage_that_is_away_is_told_and_not_papered_over(
    live: LiveView, now_ms: Callable[[], int], serve: Serve, make_candle: MakeCandle
) -> None:
    class Away(MemorySink):
        async def candles(self, *_args: object, **_options: object) -> list[Candle]:
            raise SinkUnreachable("connection refused: http://10.0.0.7:8123")

    live.recent.put_candle(make_candle())
    app = web.Application()
    install(app, live=live, sink=Away(), tables=None, checks=[], now_ms=now_ms)
    response = await (await serve(app)).get("/candles/BTC-USD")
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert (await response.json())["type"] == "urn:stockstream:problem:storage-unreachable"


async def test_without_a_sink_the_live_view_answers_alone(
    live: LiveView, now_ms: Callable[[], int], serve: Serve, make_candle: MakeCandle
) -> None:
    for window in range(-4, 1):
        live.recent.put_candle(make_candle(window))
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)
    client = await serve(app)
    assert len(await candles(client)) == 5
    assert len(await candles(client, "?limit=2")) == 2
    assert (await client.get("/candles/NONE")).status == 404
