from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stockstream.core.interval import INTERVALS_MS
from stockstream.errors import BadMessage
from stockstream.models import Candle, Latest
from stockstream.web.live import LiveView

NOW_MS = 1_700_000_400_000

MakeCandle = Callable[..., Candle]
MakeLatest = Callable[..., Latest]
Serve = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]


@pytest.fixture
def make_candle() -> MakeCandle:
    """Build a closed candle ``window`` intervals away from the minute (5 minutes, day) that holds `NOW_MS`."""

    def make(window: int = 0, symbol: str = "BTC-USD", interval: str = "1m", **other: object) -> Candle:
        step = INTERVALS_MS[interval]
        start = NOW_MS - NOW_MS % step + window * step
        whole = Candle(
            symbol, interval, "regular", start, start + step, 10.0, 12.5, 9.5, 11.0, 4.25, 10.75, 3, True,
            1, start, start + step, state="closed",
        )  # fmt: skip
        return replace(whole, **other)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_latest() -> MakeLatest:
    def make(symbol: str = "BTC-USD", version: int = 1, **other: object) -> Latest:
        whole = Latest(
            symbol, 37_000.5, -12.25, -0.033, "regular", NOW_MS - 1500, NOW_MS - 1200, 7, version, "yahoo", "CCC"
        )
        return replace(whole, **other)  # type: ignore[arg-type]

    return make


@pytest.fixture
async def live() -> LiveView:
    """A live view that has caught up and is filled by hand through its ``recent``."""

    def refuse(_value: bytes) -> object:
        raise BadMessage("nothing is decoded here")

    async def prepare(_values: Sequence[bytes]) -> None: ...

    view = LiveView(
        {},
        candles_topic="candles",
        latest_topic="latest",
        decode_candle=refuse,  # type: ignore[arg-type]
        decode_latest=refuse,  # type: ignore[arg-type]
        prepare=prepare,
        now_ms=lambda: NOW_MS,
    )
    view.ready = True
    return view


@pytest.fixture
def now_ms() -> Callable[[], int]:
    return lambda: NOW_MS


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve an application on loopback; answers its client, and ends both with the test."""
    clients: list[TestClient[web.Request, web.Application]] = []

    async def start(app: web.Application) -> TestClient[web.Request, web.Application]:
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()
