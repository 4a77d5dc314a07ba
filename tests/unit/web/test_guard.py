from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from stockstream.models import Subscription
from stockstream.testing.wait import wait_until_async
from stockstream.web.guard import Guard
from stockstream.web.health import Check
from stockstream.web.keys import READ, SCOPES, SUBSCRIPTIONS_WRITE, ApiKeys, key_of
from stockstream.web.limits import Limits, networks
from stockstream.web.live import LiveView
from stockstream.web.routes import install
from stockstream.web.subscriptions import SubscriptionViews

Client = TestClient[web.Request, web.Application]
NOW_MS = 1_700_000_400_000
READER, WRITER, BOTH, EXPIRED = "the reader's secret", "the writer's secret", "one for both", "one of last year"
KEYS = (
    key_of(READER, "reader", [READ]),
    key_of(WRITER, "writer", [SUBSCRIPTIONS_WRITE], NOW_MS + 1),
    key_of(BOTH, "both", SCOPES),
    key_of(EXPIRED, "old", SCOPES, NOW_MS),
)
READS = [
    "/latest",
    "/latest/A",
    "/candles/A",
    "/metrics",
    "/subscriptions",
    "/subscriptions/A",
    "/gaps",
    "/tables/latest/A",
]
OPEN = ["/", "/static/app.js", "/docs", "/openapi.json", "/health/live", "/health/ready"]
CHANGES = [("PUT", "/subscriptions/A"), ("DELETE", "/subscriptions/A")]


@dataclass
class Watched:
    """What is watched, without a Kafka."""

    watched: dict[str, Subscription] = field(default_factory=dict)

    async def add(self, symbols: list[str], source: str, added_by: str) -> list[Subscription]:
        new = [Subscription(symbol, source, added_by, 1) for symbol in symbols]
        self.watched |= {each.symbol: each for each in new}
        return new

    async def remove(self, symbol: str) -> bool:
        return self.watched.pop(symbol, None) is not None


class Tables:
    async def get(self, request: web.Request) -> web.Response:
        return web.json_response({"symbol": request.match_info["symbol"]})


@dataclass
class Site:
    client: Client
    guard: Guard
    watched: Watched
    now_s: list[float]

    async def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> ClientResponse:
        headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
def site(live: LiveView, serve: Callable[[web.Application], Awaitable[Client]]) -> Serve:
    async def start(keys: ApiKeys | None = None, limits: Limits | None = None, **options: Any) -> Site:
        now_s = [1000.0]
        guard = Guard(
            ApiKeys(KEYS) if keys is None else keys,
            limits=limits,
            now_ms=lambda: NOW_MS,
            steady_s=lambda: now_s[0],
            **options,
        )
        watched, app = Watched(), web.Application()
        install(
            app,
            live=live,
            sink=None,
            tables=Tables(),  # type: ignore[arg-type]
            subscriptions=SubscriptionViews(watched, lambda symbol: "yahoo"),  # type: ignore[arg-type]
            gaps=SimpleNamespace(follower=SimpleNamespace(ready=True), gaps=lambda symbol: []),  # type: ignore[arg-type]
            checks=[lambda: Check("sink", ok=False, detail="at clickhouse.inside:8123", required=False)],
            now_ms=lambda: NOW_MS,
            guard=guard,
        )
        return Site(await serve(app), guard, watched, now_s)

    return start


async def problem_of(response: ClientResponse) -> str:
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body["status"] == response.status
    for secret in (READER, WRITER, BOTH, EXPIRED, "guess"):
        assert secret not in str(body)
        assert secret not in str(response.headers)
    return str(body["detail"])


async def test_a_change_needs_a_key_with_the_scope(site: Serve) -> None:
    served = await site()
    for method, path in CHANGES:
        nobody = await served.ask(method, path)
        assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (
            401,
            'Bearer realm="stockstream", scope="subscriptions:write"',
        )
        assert "with the scope subscriptions:write: send it as 'Authorization: Bearer …'" in await problem_of(nobody)

        reader = await served.ask(method, path, READER)
        assert reader.status == 403
        assert 'error="insufficient_scope", scope="subscriptions:write"' in reader.headers["WWW-Authenticate"]
        said = await problem_of(reader)
        assert "the API key reader has read only: stockstream api-key NAME --scopes subscriptions:write" in said

        guess = await served.ask(method, path, "a guess")
        assert (guess.status, 'error="invalid_token"' in guess.headers["WWW-Authenticate"]) == (401, True)
        assert "is not known here" in await problem_of(guess)

        late = await served.ask(method, path, EXPIRED)
        assert late.status == 401
        assert "the API key old expired at 2023-11-14T22:20:00.000Z" in await problem_of(late)
    assert served.watched.watched == {}
    assert served.guard.refused["wrong key"] == served.guard.refused["expired key"] == 2


@pytest.mark.parametrize("headers", [{"Authorization": f"bearer  {WRITER} "}, {"X-API-Key": WRITER}])
async def test_a_key_with_the_scope_changes(
    site: Serve, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stockstream")
    served = await site()
    assert [(await served.ask("PUT", "/subscriptions/A", headers=headers)).status for _ in range(2)] == [201, 200]
    assert (await served.ask("DELETE", "/subscriptions/A", headers=headers)).status == 204
    assert (await served.ask("DELETE", "/subscriptions/A", headers=headers)).status == 404
    assert "PUT /subscriptions/A by the API key writer" in caplog.text
    assert WRITER not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"X-API-Key": ""},
        {"Authorization": f"Basic {WRITER}"},
    ],
)
async def test_no_key_and_an_empty_one_are_alike(site: Serve, headers: dict[str, str]) -> None:
    served = await site(ApiKeys([*KEYS, key_of("", "empty")]))
    response = await served.ask("PUT", "/subscriptions/A", headers=headers)
    assert (response.status, "send it as" in await problem_of(response)) == (401, True)


async def test_without_keys_nothing_is_changed_and_it_says_how(site: Serve) -> None:
    served = await site(ApiKeys())
    response = await served.ask("PUT", "/subscriptions/A", "a guess")
    assert response.status == 403
    said = await problem_of(response)
    assert "stockstream api-key NAME --scopes subscriptions:write" in said
    assert "STOCKSTREAM_API_KEYS_FILE" in said


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE", "PURGE"])
async def test_every_other_method_needs_the_scope_too_whatever_the_route(
    site: Serve, live: LiveView, serve: Callable[[web.Application], Awaitable[Client]], method: str
) -> None:
    app = web.Application()
    guard = Guard(ApiKeys(KEYS), now_ms=lambda: NOW_MS)
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=lambda: NOW_MS, guard=guard)

    async def dangerous(_request: web.Request) -> web.Response:
        return web.Response(text="done")

    app.router.add_route("*", "/anything", dangerous)
    client = await serve(app)
    assert (await client.request(method, "/anything")).status == 401
    assert (await client.request(method, "/anything", headers={"X-API-Key": BOTH})).status == 200
    assert (await client.request(method, "/nowhere")).status == 404
    assert (await client.request(method, "/latest")).status == 405


async def test_open_reads_need_no_key_and_look_at_none(site: Serve) -> None:
    served = await site()
    for path in (*READS, *OPEN):
        assert (await served.ask("GET", path, "a guess")).status in (200, 404), path
    stream = await served.ask("GET", "/stream")
    assert stream.status == 200
    stream.close()


async def test_closed_reads_need_a_key_streams_and_metrics_too(site: Serve) -> None:
    served = await site(reads_are_open=False)
    for path in (*READS, "/stream"):
        for method in ("GET", "HEAD") if path != "/stream" else ("GET",):
            nobody = await served.ask(method, path)
            assert nobody.status == 401, path
            assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="stockstream", scope="read"'
        assert (await served.ask("GET", path, WRITER)).status == 403, path
        reader = await served.ask("GET", path, READER)
        assert reader.status in (200, 404), path
        reader.close()
    for path in OPEN:
        assert (await served.ask("GET", path)).status == 200, path
    assert (await served.ask("GET", "/nowhere")).status == 404


async def test_a_key_in_the_address_lets_nobody_in(site: Serve) -> None:
    served = await site(reads_are_open=False)
    for name in ("key", "api_key", "access_token", "token", "X-API-Key"):
        assert (await served.ask("GET", "/stream", params={name: READER})).status == 401


async def test_where_no_key_may_read_it_says_what_to_do(site: Serve) -> None:
    served = await site(ApiKeys(KEYS[1:2]), reads_are_open=False)
    response = await served.ask("GET", "/latest", WRITER)
    assert response.status == 403
    assert "STOCKSTREAM_READS_OPEN=true" in await problem_of(response)


@pytest.mark.parametrize(
    ("reads_are_open", "key", "detail"),
    [(True, None, "at clickhouse.inside:8123"), (False, None, ""), (False, "a guess", ""), (False, WRITER, ""),
     (False, READER, "at clickhouse.inside:8123")],
)  # fmt: skip
async def test_readiness_is_for_all_and_its_details_for_readers(
    site: Serve, reads_are_open: bool, key: str | None, detail: str
) -> None:
    served = await site(reads_are_open=reads_are_open)
    response = await served.ask("GET", "/health/ready", key)
    assert response.status == 200
    assert (await response.json())["checks"] == [{"name": "sink", "ok": False, "detail": detail}]


async def test_changes_have_a_rate(site: Serve) -> None:
    served = await site(limits=Limits(changes_per_minute=3), proxies=networks(("127.0.0.1",)))
    for _ in range(5):
        assert (await served.ask("PUT", "/subscriptions/A")).status == 401, "who may not does not use it up"
    statuses = [(await served.ask("PUT", "/subscriptions/A", BOTH)).status for _ in range(4)]
    assert statuses == [201, 200, 200, 429]
    refused = await served.ask("DELETE", "/subscriptions/A", BOTH)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "20")
    assert "3 changes a minute are the most" in await problem_of(refused)
    assert (await served.ask("GET", "/subscriptions", BOTH)).status == 200
    other = await served.ask("PUT", "/subscriptions/A", BOTH, headers={"X-Forwarded-For": "203.0.113.9"})
    assert other.status == 200
    served.now_s[0] += 20
    assert (await served.ask("DELETE", "/subscriptions/A", BOTH)).status == 204
    assert served.guard.refused["rate"] == 2


async def test_guessing_has_a_rate_and_then_the_right_key_waits_too(site: Serve) -> None:
    served = await site(limits=Limits(failed_keys_per_minute=3), reads_are_open=False)
    paths = ["/latest", "/health/ready", "/metrics"]
    for number, path in enumerate(paths):
        await served.ask("GET", path, f"guess {number}")
    for path, key in (("/latest", "guess 4"), ("/latest", READER)):
        refused = await served.ask("GET", path, key)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "20")
        assert "3 wrong keys a minute are the most" in await problem_of(refused)
    assert (await served.ask("GET", "/latest")).status == 401, "to say nothing is no guess"
    served.now_s[0] += 20
    assert (await served.ask("GET", "/latest", READER)).status == 200


async def test_too_great_an_address_or_body_is_refused(site: Serve) -> None:
    served = await site(limits=Limits(max_url_bytes=300, max_body_bytes=10))
    assert (await served.ask("GET", "/latest?" + "a" * 292)).status == 200
    long = await served.ask("GET", "/latest?" + "a" * 293)
    assert (long.status, "300 bytes" in await problem_of(long)) == (414, True)

    async def chunks() -> Any:
        yield b"a"

    for method, path in (("PUT", "/subscriptions/A"), ("GET", "/latest")):
        fits = await served.ask(method, path, BOTH, data=b"a" * 10)
        great = await served.ask(method, path, BOTH, data=b"a" * 11)
        unknown = await served.ask(method, path, BOTH, data=chunks())
        assert (fits.status, great.status, unknown.status) == (200 if method == "GET" else 201, 413, 411)
        assert great.headers["Connection"] == unknown.headers["Connection"] == "close"
    assert (served.guard.refused["url"], served.guard.refused["body"]) == (1, 4)


async def test_streams_are_counted_by_client_and_together(site: Serve) -> None:
    served = await site(limits=Limits(max_streams=3, max_streams_per_client=2), proxies=networks(("127.0.0.1",)))

    async def follow(client: str) -> ClientResponse:
        return await served.ask("GET", "/stream", headers={"X-Forwarded-For": client})

    one, two = await follow("203.0.113.1"), await follow("203.0.113.1")
    third = await follow("203.0.113.1")
    assert (one.status, two.status, third.status, third.headers["Retry-After"]) == (200, 200, 429, "5")
    assert "2 requests from your address are open" in await problem_of(third)
    other = await follow("203.0.113.2")
    full = await follow("203.0.113.3")
    assert (other.status, full.status, full.headers["Retry-After"]) == (200, 503, "5")
    assert (await served.ask("GET", "/latest")).status == 200, "answers have places of their own"
    for each in (one, two, other):
        each.close()


async def test_a_stream_that_ends_frees_its_place(site: Serve, live: LiveView, make_latest: Callable[..., Any]) -> None:
    served = await site(limits=Limits(max_streams=1))
    first = await served.ask("GET", "/stream")
    assert (await served.ask("GET", "/stream")).status == 503
    first.close()

    async def is_free() -> bool:
        live.recent.put_latest(make_latest(version=live.hub.number + 2))  # what is written finds that it has gone
        return (await served.ask("GET", "/stream")).status == 200

    await wait_until_async(is_free, 10, "a place to be free")


async def test_a_client_that_does_not_take_its_answer_is_cut_off(
    site: Serve, live: LiveView, make_latest: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(25_000):
        live.recent.put_latest(make_latest(f"S{number}", version=number + 1))
    served = await site(limits=Limits(max_requests=1, send_timeout_s=1.0))
    loop = asyncio.get_running_loop()
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        await loop.sock_connect(stalled, (served.client.host, served.client.port))
        await loop.sock_sendall(stalled, b"GET /latest HTTP/1.1\r\nHost: x\r\n\r\n")

        async def is_full() -> bool:
            return (await served.ask("GET", "/gaps")).status == 503

        await wait_until_async(is_full, 10, "the answer to be under way")
        assert (await served.ask("GET", "/health/live")).status == 200, "supervisors are answered however busy it is"

        async def is_free() -> bool:
            return (await served.ask("GET", "/gaps")).status == 200

        await wait_until_async(is_free, 10, "the client to be cut off")
    assert "does not take its answer for 1 s: cut off" in caplog.text


@pytest.mark.parametrize("path", ["/latest", "/static/app.js", "/gaps"])
async def test_answers_arrive_whole_however_they_are_sent(site: Serve, path: str) -> None:
    served = await site()
    got, head = await served.ask("GET", path), await served.ask("HEAD", path)
    body = await got.read()
    assert (got.status, head.status, await head.read()) == (200, 200, b"")
    assert int(got.headers["Content-Length"]) == len(body) == int(head.headers["Content-Length"])
    assert got.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_key_that_is_no_text_is_a_wrong_one(site: Serve) -> None:
    served = await site()
    reader, writer = await asyncio.open_connection(served.client.host, served.client.port)
    writer.write(b"PUT /subscriptions/A HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")
