from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.models import Latest
from stockstream.web.live import LiveView
from stockstream.web.routes import install

Client = TestClient[web.Request, web.Application]
MakeLatest = Callable[..., Latest]


@pytest.fixture
async def client(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> Client:
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)
    return await serve(app)


async def test_one_price_with_its_times_and_age(client: Client, live: LiveView, make_latest: MakeLatest) -> None:
    live.recent.put_latest(make_latest(version=2**62 + 1, day_volume=-1))
    response = await client.get("/latest/BTC-USD")
    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == {
        "symbol": "BTC-USD",
        "price": 37000.5,
        "change": -12.25,
        "change_percent": -0.033,
        "session": "regular",
        "event_time": "2023-11-14T22:19:58.500Z",
        "event_time_ms": 1_700_000_398_500,
        "received_time": "2023-11-14T22:19:58.800Z",
        "received_time_ms": 1_700_000_398_800,
        "age_ms": 1500,
        "bid": None,
        "ask": None,
        "day_volume": None,
        "currency": None,
        "exchange": "CCC",
        "source": "yahoo",
        "version": "4611686018427387905",
    }


async def test_a_price_from_a_clock_ahead_is_not_younger_than_now(
    client: Client, live: LiveView, make_latest: MakeLatest, now_ms: Callable[[], int]
) -> None:
    live.recent.put_latest(make_latest(event_time=now_ms() + 5000))
    assert (await (await client.get("/latest/BTC-USD")).json())["age_ms"] == 0


async def test_all_prices_by_symbol(client: Client, live: LiveView, make_latest: MakeLatest) -> None:
    for symbol in ("ES=F", "AAPL", "^GSPC"):
        live.recent.put_latest(make_latest(symbol))
    body = await (await client.get("/latest")).json()
    assert [each["symbol"] for each in body["latest"]] == ["AAPL", "ES=F", "^GSPC"]


@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        ("BTC%2FUSD", "BTC/USD"),
        ("ES=F", "ES=F"),
        ("ES%3DF", "ES=F"),
        ("^GSPC", "^GSPC"),
        ("%5EGSPC", "^GSPC"),
        ("FINNHUB:BINANCE:BTCUSDT", "FINNHUB:BINANCE:BTCUSDT"),
        ("FINNHUB%3AAAPL", "FINNHUB:AAPL"),
        ("VCB.VN", "VCB.VN"),
    ],
)
async def test_symbols_with_signs_are_found_by_their_encoded_path(
    client: Client, live: LiveView, make_latest: MakeLatest, path: str, symbol: str
) -> None:
    live.recent.put_latest(make_latest(symbol))
    response = await client.get(f"/latest/{path}")
    assert response.status == 200
    assert (await response.json())["symbol"] == symbol


async def test_an_unknown_symbol_is_not_found(client: Client) -> None:
    response = await client.get("/latest/NONE")
    assert response.status == 404
    assert "NONE" in (await response.json())["detail"]


@pytest.mark.parametrize("path", ["a%20b", "caf%C3%A9", "x" * 65, "%00", "a%3Fb"])
async def test_what_is_no_symbol_is_refused(client: Client, path: str) -> None:
    response = await client.get(f"/latest/{path}")
    assert response.status == 400
    assert (await response.json())["type"] == "urn:stockstream:problem:invalid-symbol"


async def test_before_it_has_caught_up_it_says_only_what_it_knows(
    client: Client, live: LiveView, make_latest: MakeLatest
) -> None:
    live.ready = False
    live.recent.put_latest(make_latest("KNOWN"))
    assert (await client.get("/latest/KNOWN")).status == 200
    for path in ("/latest/NONE", "/latest"):
        response = await client.get(path)
        assert response.status == 503
        assert response.headers["Retry-After"]


async def test_a_venues_nan_does_not_spoil_the_answers_of_all(
    client: Client, live: LiveView, make_latest: MakeLatest
) -> None:
    nan, inf = float("nan"), float("inf")
    live.recent.put_latest(make_latest("ODD", change=nan, change_percent=-inf, bid=inf, ask=nan))

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for path in ("/latest", "/latest/ODD"):
        answer = json.loads(await (await client.get(path)).read(), parse_constant=no_constant)
        (odd,) = answer.get("latest", [answer])
        assert (odd["change"], odd["change_percent"], odd["bid"], odd["ask"]) == (0.0, 0.0, None, None)
