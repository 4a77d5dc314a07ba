from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.errors import (
    BrokerUnreachable,
    InvalidInput,
    InvalidInterval,
    InvalidSymbol,
    MalformedTrades,
    PartitionMoved,
    RegistryUnreachable,
    SinkRefused,
    SinkUnreachable,
    StockstreamError,
    Unreachable,
)
from stockstream.web.problem import problems, set_headers

Serve = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]
Ask = Callable[[BaseException], Awaitable[aiohttp.ClientResponse]]


@pytest.fixture
def ask(serve: Serve) -> Ask:
    """Ask a server whose only handler raises the given error."""

    async def get(error: BaseException) -> aiohttp.ClientResponse:
        async def fail(_request: web.Request) -> web.Response:
            raise error

        app = web.Application(middlewares=[problems])
        app.on_response_prepare.append(set_headers)
        app.add_routes([web.get("/it/{name}", fail)])
        client = await serve(app)
        return await client.get("/it/a%2Fb?x=1")

    return get


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidSymbol("'a b' is no symbol"), "invalid-symbol"),
        (InvalidInterval("'2m' is no interval"), "invalid-interval"),
        (InvalidInput("limit is wrong"), "invalid-request"),
        (MalformedTrades("f.csv", 3, "no price"), "invalid-request"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(ask: Ask, error: StockstreamError, kind: str) -> None:
    response = await ask(error)
    assert response.status == 400
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body.pop("title")
    assert body == {
        "type": f"urn:stockstream:problem:{kind}",
        "status": 400,
        "detail": str(error),
        "instance": "/it/a%2Fb",
    }


@pytest.mark.parametrize("kind", [SinkUnreachable, BrokerUnreachable, RegistryUnreachable, Unreachable, PartitionMoved])
async def test_what_passes_is_worth_asking_again(ask: Ask, kind: type[StockstreamError]) -> None:
    response = await ask(kind("no answer from http://user:secret@10.0.0.7:8123"))
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "10.0.0.7" not in await response.text()


@pytest.mark.parametrize("kind", [ZeroDivisionError, SinkRefused, StockstreamError])
async def test_what_was_not_foreseen_is_logged_and_not_told(
    ask: Ask, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    response = await ask(kind("no answer from 10.0.0.7"))
    assert response.status == 500
    assert await response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "instance": "/it/a%2Fb",
    }
    assert "10.0.0.7" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_missing_path_and_a_wrong_method_are_problems_too(serve: Serve) -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(middlewares=[problems])
    app.add_routes([web.get("/hello", hello)])
    client = await serve(app)
    missing, wrong = await client.get("/nowhere"), await client.post("/hello")
    assert (await missing.json())["title"] == "Not Found"
    assert "detail" not in await missing.json()
    assert (missing.status, missing.content_type) == (404, "application/problem+json")
    assert (wrong.status, wrong.content_type) == (405, "application/problem+json")
    assert "GET" in wrong.headers["Allow"]


async def test_a_handlers_own_text_and_headers_are_kept(ask: Ask) -> None:
    response = await ask(web.HTTPUnauthorized(text="no API key", headers={"WWW-Authenticate": "Bearer"}))
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await response.json())["detail"] == "no API key"


async def test_a_redirect_is_no_problem(serve: Serve) -> None:
    async def move(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/there")

    app = web.Application(middlewares=[problems])
    app.add_routes([web.get("/", move)])
    response = await (await serve(app)).get("/", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/there")


@pytest.mark.parametrize("error", [ZeroDivisionError("in the middle"), SinkUnreachable("in the middle")])
async def test_an_error_in_the_middle_of_a_stream_cuts_it(serve: Serve, error: Exception) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise error

    app = web.Application(middlewares=[problems])
    app.on_response_prepare.append(set_headers)
    app.add_routes([web.get("/", stream)])
    client = await serve(app)
    async with asyncio.timeout(10):
        response = await client.get("/")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_every_answer_forbids_caches_and_sniffing_unless_its_handler_chose(ask: Ask, serve: Serve) -> None:
    async def asset(_request: web.Request) -> web.Response:
        return web.Response(text="body", headers={"Cache-Control": "max-age=60"})

    app = web.Application(middlewares=[problems])
    app.on_response_prepare.append(set_headers)
    app.add_routes([web.get("/", asset)])
    chosen, failed = await (await serve(app)).get("/"), await ask(InvalidInput("no"))
    assert chosen.headers["Cache-Control"] == "max-age=60"
    assert failed.headers["Cache-Control"] == "no-store"
    assert chosen.headers["X-Content-Type-Options"] == failed.headers["X-Content-Type-Options"] == "nosniff"
