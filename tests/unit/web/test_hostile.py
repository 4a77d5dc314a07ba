"""Texts that would be SQL, paths or markup elsewhere, in every place where HTTP takes a text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from stockstream.sinks.memory import MemorySink
from stockstream.web.guard import Guard
from stockstream.web.keys import ApiKeys, key_of
from stockstream.web.live import LiveView
from stockstream.web.routes import install
from stockstream.web.subscriptions import SubscriptionViews
from stockstream.web.tables import TableViews

Client = TestClient[web.Request, web.Application]
KEY = {"X-API-Key": "the key"}
HOSTILE = [
    "'; DROP TABLE ticks; --",
    "x' OR '1'='1",
    "{symbol:String}",
    "%(x)s",
    "a\nb",
    "a\x00b",
    "<script>",
    "A" * 65,
    "é",
]


def never(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be asked")


@pytest.fixture
async def client(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]],
    monkeypatch: pytest.MonkeyPatch,
) -> Client:  # fmt: skip
    sink = MemorySink()
    monkeypatch.setattr(sink, "candles", never)
    app = web.Application()
    install(
        app,
        live=live,
        sink=sink,
        tables=TableViews(never, never, never, never, ["latest"], now_ms),  # type: ignore[arg-type]
        subscriptions=SubscriptionViews(SimpleNamespace(watched={}, add=never, remove=never), never),  # type: ignore[arg-type]
        gaps=SimpleNamespace(follower=SimpleNamespace(ready=True), gaps=never),  # type: ignore[arg-type]
        checks=[],
        now_ms=now_ms,
        guard=Guard(ApiKeys([key_of("the key", "k")]), now_ms=now_ms),
    )
    return await serve(app)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/latest/{}"),
        ("GET", "/candles/{}"),
        ("GET", "/candles/A?interval={}"),
        ("GET", "/candles/A?session={}"),
        ("GET", "/candles/A?start={}"),
        ("GET", "/candles/A?end={}"),
        ("GET", "/candles/A?limit={}"),
        ("GET", "/candles/A?fill={}"),
        ("GET", "/candles/A?{}=1"),
        ("GET", "/gaps?symbol={}"),
        ("GET", "/gaps?state={}"),
        ("GET", "/gaps?from={}"),
        ("GET", "/stream?symbols={}"),
        ("GET", "/stream?symbols=A&interval={}"),
        ("GET", "/tables/latest/{}"),
        ("GET", "/tables/{}/A"),
        ("GET", "/subscriptions/{}"),
        ("PUT", "/subscriptions/{}"),
        ("DELETE", "/subscriptions/{}"),
    ],
)
async def test_it_is_refused_before_anything_is_asked(client: Client, method: str, path: str, text: str) -> None:
    url = URL(path.replace("{}", quote(text, safe="")), encoded=True)
    response = await client.request(method, url, headers=KEY)
    no_route = "{" in text and "?" not in path
    assert response.status == (404 if no_route else 400), await response.text()
    assert response.content_type == "application/problem+json"
