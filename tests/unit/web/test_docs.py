from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.models import Candle, Latest, Subscription
from stockstream.models.gap import Gap
from stockstream.web.guard import OPEN_PATHS
from stockstream.web.live import LiveView
from stockstream.web.openapi import document
from stockstream.web.routes import install
from stockstream.web.subscriptions import SubscriptionViews

GAP = Gap("AAPL", "yahoo", 1, 2, "silent", 3, 4)
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def app(live: LiveView, now_ms: Callable[[], int]) -> web.Application:
    class Tables:
        async def get(self, request: web.Request) -> web.Response:
            raise AssertionError("not asked")

    class Watched:
        watched: ClassVar[dict[str, Subscription]] = {"AAPL": Subscription("AAPL", "yahoo", "api", 1)}

    app = web.Application()
    install(
        app,
        live=live,
        sink=None,
        tables=Tables(),  # type: ignore[arg-type]
        subscriptions=SubscriptionViews(Watched(), lambda symbol: "yahoo"),  # type: ignore[arg-type]
        gaps=SimpleNamespace(follower=SimpleNamespace(ready=True), gaps=lambda symbol: [GAP]),  # type: ignore[arg-type]
        checks=[],
        now_ms=now_ms,
    )
    return app


@pytest.fixture
async def client(app: web.Application, serve: Callable[[web.Application], Awaitable[Client]]) -> Client:
    return await serve(app)


def test_it_names_exactly_the_routes_that_exist(app: web.Application) -> None:
    served = {
        (route.method.lower(), re.sub(r"\{(\w+):.+\}", r"{\1}", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    named = {(method, path) for path, operations in document()["paths"].items() for method in operations}
    assert named == served


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    whole = document()
    used = set(references(whole))
    for reference in used:
        found = whole
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    streamed = {"#/components/schemas/SnapshotEvent", "#/components/schemas/CandleEvent"}
    components = dict(whole["components"])
    schemes = components.pop("securitySchemes")
    parts = {f"#/components/{kind}/{name}" for kind, named in components.items() for name in named}
    assert parts - used == streamed
    operations = [each for operations in whole["paths"].values() for each in operations.values()]
    assert {name for each in operations for way in each.get("security", ()) for name in way} == schemes.keys()


def test_it_says_what_needs_which_scope() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            ways = operation.get("security", [])
            if path in OPEN_PATHS:
                assert ways == [], path
            elif method == "get":
                assert ways == [{}, {"bearer": ["read"]}, {"header": ["read"]}], path
            else:
                assert ways == [{"bearer": ["subscriptions:write"]}, {"header": ["subscriptions:write"]}], path


def test_every_path_parameter_is_described() -> None:
    whole = document()
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            described = set()
            for parameter in operation.get("parameters", ()):
                found = whole["components"]["parameters"]["symbol"] if "$ref" in parameter else parameter
                if found["in"] == "path":
                    described.add(found["name"])
            assert described == set(re.findall(r"\{(\w+)\}", path)), f"{method} {path}"


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/latest", "LatestList"),
        ("/latest/BTC-USD", "Latest"),
        ("/latest/nothing", "Problem"),
        ("/candles/BTC-USD", "CandleList"),
        ("/health/live", "Alive"),
        ("/health/ready", "Readiness"),
    ],
)
async def test_answers_are_what_it_says(
    client: Client, live: LiveView, make_candle: Callable[..., Candle], make_latest: Callable[..., Latest],
    path: str, schema: str,
) -> None:  # fmt: skip
    live.recent.put_candle(make_candle(volume=None, trades=None, vwap=None))
    live.recent.put_latest(make_latest())
    whole = (await (await client.get("/openapi.json")).json()) | {"$ref": f"#/components/schemas/{schema}"}
    jsonschema.validate(await (await client.get(path)).json(), _strict(whole))


def _strict(part: Any) -> Any:
    """The same schema, in which what it does not name is wrong."""
    if isinstance(part, list):
        return [_strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {"additionalProperties": False} if part.get("type") == "object" and "properties" in part else {}
    return closed | {name: _strict(each) for name, each in part.items()}


async def test_the_page_names_every_route_and_asks_no_other_host(client: Client) -> None:
    response = await client.get("/docs")
    text = await response.text()
    assert response.content_type == "text/html"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    named = {(method.upper(), path) for path, operations in document()["paths"].items() for method in operations}
    assert set(re.findall(r"<h2><b>([A-Z]+)</b> <code>(.+?)</code>", text)) == named
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    for link in re.findall(r'href="([^"#]+)"', text):
        assert (await client.get(f"/{link}" if link != "." else "/")).status == 200, link
    assert {f"#{anchor}" for anchor in re.findall(r'id="(\w+)"', text)} >= set(re.findall(r'href="(#\w+)"', text))
