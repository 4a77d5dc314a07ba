from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from stockstream.models import Candle, Latest
from stockstream.testing.wait import wait_until_async
from stockstream.web import stream as stream_module
from stockstream.web.live import LiveView
from stockstream.web.problem import problems
from stockstream.web.routes import install
from stockstream.web.stream import Stream

Client = TestClient[web.Request, web.Application]
Serve = Callable[[web.Application], Awaitable[Client]]
DEADLINE_S = 10


@dataclass
class Sent:
    """An event as it came: ``comment`` stands alone."""

    kind: str = ""
    id: str = ""
    data: Any = None
    comment: str = ""


async def events(response: ClientResponse) -> AsyncIterator[Sent]:
    """Parse a stream by the rules of Server-Sent Events."""
    sent = Sent()
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if line == b"\n":
            if sent != Sent():
                yield sent
            sent = Sent()
        elif name == "id":
            sent.id = value
        elif name == "event":
            sent.kind = value
        elif name == "data":
            sent.data = json.loads(value)
        elif name == "":
            sent.comment = value
        else:
            assert name == "retry"


class Followed:
    """A connection whose events are taken one by one."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self._events = events(response)

    async def next(self) -> Sent:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(self._events)

    async def ended(self) -> bool:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(self._events, None) is None


Follow = Callable[..., Awaitable[Followed]]


@pytest.fixture
async def client(live: LiveView, now_ms: Callable[[], int], serve: Serve) -> Client:
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms)
    return await serve(app)


@pytest.fixture
def follow(client: Client) -> Follow:
    async def start(query: str = "", last_id: str | None = None) -> Followed:
        response = await client.get(f"/stream{query}", headers={} if last_id is None else {"Last-Event-ID": last_id})
        assert response.status == 200
        return Followed(response)

    return start


async def test_the_watch_list_begins_with_all_prices_and_follows_them(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest], make_candle: Callable[..., Candle]
) -> None:
    live.recent.put_latest(make_latest("B"))
    live.recent.put_latest(make_latest("A"))
    live.recent.put_candle(make_candle(symbol="A"))
    stream = await follow()
    assert stream.response.content_type == "text/event-stream"
    assert stream.response.headers["X-Accel-Buffering"] == "no"
    assert stream.response.headers["Cache-Control"] == "no-store"
    snapshot = await stream.next()
    assert snapshot.kind == "snapshot"
    assert [price["symbol"] for price in snapshot.data["latest"]] == ["A", "B"]
    assert (snapshot.data["candles"], snapshot.data["complete"]) == ([], True)

    live.recent.put_candle(make_candle(symbol="A", version=2))
    live.recent.put_latest(make_latest("C", price=5.5))
    change = await stream.next()
    assert (change.kind, change.data["symbol"], change.data["price"]) == ("latest", "C", 5.5)
    live.recent.drop_latest("C")
    removed = await stream.next()
    assert (removed.kind, removed.data) == ("removed", {"symbol": "C"})


async def test_candles_of_the_symbols_asked_for_and_their_prices(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest], make_candle: Callable[..., Candle]
) -> None:
    live.recent.put_latest(make_latest("A"))
    live.recent.put_latest(make_latest("C"))
    for window in (-1, 0):
        live.recent.put_candle(make_candle(window, symbol="A"))
    live.recent.put_candle(make_candle(symbol="A", interval="5m"))
    stream = await follow("?symbols=A,B&interval=1m")
    snapshot = (await stream.next()).data
    assert [price["symbol"] for price in snapshot["latest"]] == ["A"]
    assert [(series["symbol"], len(series["candles"])) for series in snapshot["candles"]] == [("A", 2), ("B", 0)]

    live.recent.put_candle(make_candle(symbol="A", interval="5m", version=9))
    live.recent.put_candle(make_candle(symbol="A", session="extended"))
    live.recent.put_candle(make_candle(symbol="C"))
    live.recent.put_latest(make_latest("C", version=9))
    live.recent.put_candle(make_candle(symbol="B", version=2**60 + 1))
    live.recent.put_latest(make_latest("A", version=3))
    candle, price = await stream.next(), await stream.next()
    assert (candle.kind, candle.data["symbol"], candle.data["interval"]) == ("candle", "B", "1m")
    assert candle.data["version"] == str(2**60 + 1)
    assert (price.kind, price.data["symbol"], price.data["version"]) == ("latest", "A", "3")


async def test_the_page_follows_one_symbols_candles_and_all_prices_on_one_connection(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest], make_candle: Callable[..., Candle]
) -> None:
    live.recent.put_latest(make_latest("B"))
    stream = await follow("?symbols=A&interval=1d&session=extended&latest=all")
    snapshot = (await stream.next()).data
    assert [price["symbol"] for price in snapshot["latest"]] == ["B"]
    assert [(series["interval"], series["session"]) for series in snapshot["candles"]] == [("1d", "extended")]
    live.recent.put_candle(make_candle(symbol="A", interval="1d"))
    live.recent.put_candle(make_candle(symbol="A", interval="1d", session="extended"))
    assert (await stream.next()).data["session"] == "extended"


async def test_a_symbol_without_interval_follows_its_price_alone(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest], make_candle: Callable[..., Candle]
) -> None:
    stream = await follow("?symbols=ES%3DF")
    assert (await stream.next()).data == {"complete": True, "latest": [], "candles": []}
    live.recent.put_candle(make_candle(symbol="ES=F"))
    live.recent.put_latest(make_latest("A"))
    live.recent.put_latest(make_latest("ES=F"))
    assert (await stream.next()).data["symbol"] == "ES=F"


async def test_a_lost_connection_resumes_where_it_was(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest]
) -> None:
    first = await follow()
    await first.next()
    live.recent.put_latest(make_latest("A", version=1))
    seen = await first.next()
    first.response.close()
    live.recent.put_latest(make_latest("A", version=2))
    live.recent.put_latest(make_latest("B", version=3))
    live.recent.put_latest(make_latest("A", version=4))
    second = await follow(last_id=seen.id)
    resumed = [await second.next(), await second.next()]
    assert [(sent.kind, sent.data["symbol"], sent.data["version"]) for sent in resumed] == [
        ("latest", "B", "3"),
        ("latest", "A", "4"),
    ]


async def test_an_id_of_another_process_begins_anew(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest]
) -> None:
    live.recent.put_latest(make_latest("A"))
    stream = await follow(last_id="0123456789ab-1")
    assert (await stream.next()).kind == "snapshot"


async def test_a_view_that_has_not_caught_up_says_so(live: LiveView, follow: Follow) -> None:
    live.ready = False
    assert (await (await follow()).next()).data["complete"] is False


async def test_streams_end_when_the_application_shuts_down(client: Client, follow: Follow) -> None:
    stream = await follow()
    await stream.next()
    await client.app.shutdown()
    assert await stream.ended()
    late = await client.get("/stream")
    assert (late.status, late.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?symbols=a%20b", "is no symbol"),
        ("?symbols=", "is no symbol"),
        ("?symbols=A,", "is no symbol"),
        ("?symbols=A,*", "is no symbol"),
        ("?symbols=A&interval=2m", "is no interval"),
        ("?interval=1m", "interval needs symbols"),
        ("?symbols=*&interval=1m", "interval needs symbols"),
        ("?symbols=A&session=regular", "session needs an interval"),
        ("?symbols=A&interval=1m&session=night", "session='night' is unknown"),
        ("?symbols=A&latest=some", "latest='some' is unknown"),
        ("?symbols=A&symbols=B", "symbols is given more than once"),
        ("?symbol=A", "'symbol' is no parameter"),
        ("?symbols=" + ",".join(f"S{number}" for number in range(51)), "51 symbols are too many"),
    ],
)
async def test_what_cannot_be_followed_is_refused(client: Client, query: str, said: str) -> None:
    response = await client.get(f"/stream{query}")
    assert (response.status, response.content_type) == (400, "application/problem+json")
    assert said in (await response.json())["detail"]


async def test_head_is_refused(client: Client) -> None:
    assert (await client.head("/stream")).status == 405


def serving(live: LiveView, stream: Stream) -> web.Application:
    app = web.Application(middlewares=[problems])
    app.router.add_get("/stream", stream.get, allow_head=False)

    async def end_streams(_app: web.Application) -> None:
        live.hub.close()

    app.on_shutdown.append(end_streams)
    return app


async def test_a_silent_stream_is_kept_alive(live: LiveView, now_ms: Callable[[], int], serve: Serve) -> None:
    client = await serve(serving(live, Stream(live, now_ms, heartbeat_s=0.02)))
    stream = Followed(await client.get("/stream"))
    assert (await stream.next()).kind == "snapshot"
    assert [(await stream.next()).comment for _ in range(2)] == ["still here", "still here"]


async def test_a_client_that_does_not_read_is_cut_off(
    live: LiveView, now_ms: Callable[[], int], serve: Serve, make_latest: Callable[..., Latest],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    client = await serve(serving(live, Stream(live, now_ms, write_timeout_s=0.05)))
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, (client.host, client.port))
        await loop.sock_sendall(stalled, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_until_async(lambda: len(live.hub) == 1, DEADLINE_S, "the client to be served")

        def is_cut_off() -> bool:
            for number in range(500):
                live.recent.put_latest(make_latest(f"S{number}", version=live.hub.number + 1))
            return len(live.hub) == 0

        await wait_until_async(is_cut_off, DEADLINE_S, "the client to be cut off")
    assert "does not take what it follows" in caplog.text


async def test_a_slow_client_of_a_great_snapshot_is_served_piece_by_piece(
    live: LiveView, now_ms: Callable[[], int], serve: Serve, make_latest: Callable[..., Latest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(stream_module, "_PIECE_BYTES", 1000)
    for number in range(300):
        live.recent.put_latest(make_latest(f"S{number:03}"))
    client = await serve(serving(live, Stream(live, now_ms)))
    snapshot = await Followed(await client.get("/stream")).next()
    assert [price["symbol"] for price in snapshot.data["latest"]] == [f"S{number:03}" for number in range(300)]


async def test_all_clients_get_the_same_bytes_of_a_state(
    live: LiveView, follow: Follow, make_latest: Callable[..., Latest]
) -> None:
    streams = [await follow() for _ in range(3)]
    for each in streams:
        await each.next()
    live.recent.put_latest(make_latest("A"))
    got = [await each.next() for each in streams]
    assert got[0] == got[1] == got[2]
    assert got[0].id == live.hub.event_id(1)
