from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.web.live import LiveView
from stockstream.web.routes import install

Client = TestClient[web.Request, web.Application]

LIBRARY = "vendor/lightweight-charts.standalone.production.mjs"
STATIC = files("stockstream.web") / "static"


@pytest.fixture
async def client(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> Client:
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)
    return await serve(app)


async def test_everything_that_the_page_names_is_served_as_what_it_is(client: Client) -> None:
    page = await client.get("/")
    assert page.content_type == "text/html"
    found, seen = re.findall(r'(?:src|href)="(static/[^"]+)"', await page.text()), {}
    while found:
        path = found.pop()
        if path in seen:
            continue
        response = await client.get(f"/{path}")
        assert response.status == 200, path
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
        seen[path] = response.content_type
        if path.endswith(".js"):
            folder = path.rpartition("/")[0]
            found += [f"{folder}/{name}" for name in re.findall(r'from "\./([^"]+)"', await response.text())]
    assert seen["static/app.js"] == seen[f"static/{LIBRARY}"] == "text/javascript"
    assert seen["static/style.css"] == "text/css"
    assert seen["static/icon.svg"] == "image/svg+xml"


async def test_an_unchanged_file_is_not_sent_again(client: Client) -> None:
    first = await client.get("/static/app.js")
    again = await client.get("/static/app.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("path", ["nothing.js", "..%2Froutes.py", "%2E%2E/routes.py", "/etc/passwd", "vendor"])
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    response = await client.get(f"/static/{path}")
    assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_the_policy_allows_own_files_and_the_style_of_the_charts_logo(client: Client) -> None:
    policy = (await client.get("/")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    library = (STATIC / LIBRARY).read_text()
    (style,) = re.findall(r"`(a#tv-attr-logo\{[^`]+)`|\"(a#tv-attr-logo\{[^\"]+)\"|'(a#tv-attr-logo\{[^']+)'", library)
    text = next(filter(None, style))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


async def test_the_chart_librarys_licence_and_notice_go_with_it(client: Client) -> None:
    for name, said in (("LICENSE", "Apache License"), ("NOTICE", "TradingView, Inc.")):
        response = await client.get(f"/static/vendor/{name}")
        assert (response.status, response.content_type) == (200, "text/plain")
        assert said in await response.text()
    assert "TradingView, Inc." in await (await client.get("/")).text()


async def test_no_file_of_ours_is_long() -> None:
    for name in [path.name for path in STATIC.iterdir() if path.is_file()]:
        assert len((STATIC / name).read_text().splitlines()) <= 300, name
