from __future__ import annotations

from collections.abc import Awaitable, Callable

import faust
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.models import Latest
from stockstream.web.guard import OPEN_PATHS, Guard
from stockstream.web.keys import READ, ApiKeys, key_of
from stockstream.web.live import LiveView
from stockstream.web.routes import install

Client = TestClient[web.Request, web.Application]


async def test_on_fausts_own_application_both_kinds_of_routes_answer(
    live: LiveView,
    now_ms: Callable[[], int],
    serve: Callable[[web.Application], Awaitable[Client]],
    make_latest: Callable[..., Latest],
) -> None:
    app = faust.App("routes", broker="kafka://127.0.0.1:9", store="memory://")
    install(app.web.web_app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)

    @app.page("/ours/")
    async def ours(view: faust.web.View, request: faust.web.Request) -> faust.web.Response:
        raise view.NotFound("not here")

    app.web.init_server()
    live.recent.put_latest(make_latest())
    client = await serve(app.web.web_app)

    assert (await (await client.get("/latest/BTC-USD")).json())["price"] == 37000.5
    assert (await client.get("/health/live")).status == 200

    index = await client.get("/")  # Faust has one too
    assert (index.status, "<title>stockstream</title>" in await index.text()) == (200, True)
    page = await client.get("/ours/")
    assert (page.status, page.content_type) == (404, "application/json")
    missing = await client.get("/nowhere")
    assert (missing.status, missing.content_type) == (404, "application/problem+json")


async def test_fausts_own_routes_are_guarded_too(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> None:
    app = faust.App("routes", broker="kafka://127.0.0.1:9", store="memory://", web_tables_enabled=True)
    guard = Guard(ApiKeys([key_of("secret", "reader", [READ])]), reads_are_open=False, now_ms=now_ms)
    install(app.web.web_app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms, guard=guard)
    app.web.init_server()
    paths = {route.resource.canonical for route in app.web.web_app.router.routes() if route.resource is not None}
    assert "/table/" in paths
    client = await serve(app.web.web_app)
    for path in (path for path in paths - OPEN_PATHS if "{" not in path):
        assert (await client.get(path)).status == 401, path
    assert (await client.get("/table/", headers={"Authorization": "Bearer secret"})).status == 200


async def test_head_is_answered_without_a_body(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> None:
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)
    response = await (await serve(app)).head("/health/ready")
    assert (response.status, await response.read()) == (200, b"")
