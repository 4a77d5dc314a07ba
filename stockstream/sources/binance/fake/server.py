"""The fake's sockets: Binance's combined streams and REST interface on one port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSCloseCode, WSMsgType, web

from stockstream.sources.binance.fake.limits import Counter, Doorkeeper, Limits
from stockstream.sources.binance.fake.market_data import MarketData, weight_of
from stockstream.sources.binance.fake.tape import Tape, Trade

_PACE_S = 0.005
_CLOSE_S = 2.0
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_RUBBISH = (
    "",
    "no JSON",
    "[1, 2",
    "null",
    '"text"',
    "[]",
    '{"stream":"btcusdt@trade"}',
    '{"stream":"btcusdt@trade","data":[]}',
    '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}',
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":"1","p":"1","q":"1","T":1,"m":true}}',
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"two words","t":1,"p":"1","q":"1","T":1,"m":true}}',
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"NaN","q":"1","T":1,"m":true}}',
)


@dataclass(eq=False)
class Client:
    """One connection: its streams, what was sent on it as (symbol, id), and how it ended.

    ``is_acknowledged`` says that both sides have closed in good order.
    """

    number: int
    socket: web.WebSocketResponse
    messages: Counter
    streams: dict[str, None] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)
    outbox: asyncio.Queue[str | Trade] = field(default_factory=asyncio.Queue)
    is_silent: bool = False
    is_acknowledged: bool = False
    ended_by: str = ""
    pong_s: float = 0.0


class FakeBinance:
    """Serves ``tape`` at the market's time ``now_ms``; a context. Limits and lifetimes run on a clock of their own.

    ``answers_commands``, which a test may take away: whether commands are answered.
    """

    def __init__(
        self, tape: Tape, now_ms: Callable[[], int], *, limits: Limits | None = None, port: int = 0, steps: bool = True
    ) -> None:
        self.tape, self.limits = tape, limits or Limits()
        self.clients: list[Client] = []
        self.gone: list[Client] = []
        self.doorkeeper = Doorkeeper(self.limits)
        self.answers_commands = True
        self.rubbish = 0
        self._now_ms, self._port, self._steps = now_ms, port, steps
        self._data = MarketData(tape, now_ms)
        self._attempts = Counter(self.limits.attempts_window_s)
        self._refusal: tuple[int, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/api/v3/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        if self._steps:
            self._start(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in list(self.clients):
            self._abort(client, "stopped")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the streams are."""
        return f"ws://127.0.0.1:{self._port}/stream"

    @property
    def rest_url(self) -> str:
        """Where the REST interface is."""
        return f"http://127.0.0.1:{self._port}"

    def refuse(self, status: int | None, retry_after_s: int = 0) -> None:
        """Answer every handshake with ``status`` from now on; None: with a connection."""
        self._refusal = None if status is None else (status, retry_after_s)

    async def close(self, code: int = 1001) -> None:
        """Close all connections in good order."""
        await asyncio.gather(*(self._close(client, code, "closed") for client in list(self.clients)))

    def abort(self) -> None:
        """Cut all connections."""
        for client in list(self.clients):
            self._abort(client, "aborted")

    def be_silent(self) -> None:
        """Send nothing more on the connections that are open now, but answer pings."""
        for client in self.clients:
            client.is_silent = True

    def announce_shutdown(self) -> None:
        """Tell all connections that they will be shut down."""
        for client in self.clients:
            self._announce(client)

    def send_rubbish(self) -> None:
        """Send each connection frames of all wrong kinds."""
        for client in self.clients:
            for text in _RUBBISH:
                client.outbox.put_nowait(text)
                self.rubbish += 1

    def advance(self) -> None:
        """Let the market catch up with its time, and send what has happened."""
        for trade in self.tape.until(self._now_ms()):
            stream = f"{trade.symbol.lower()}@trade"
            for client in self.clients:
                if stream in client.streams and not client.is_silent:
                    client.outbox.put_nowait(trade)

    async def _run(self) -> None:
        while True:
            self.advance()
            await asyncio.sleep(_PACE_S)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rest(self, request: web.Request) -> web.Response:
        path, query = request.match_info["path"], dict(request.query)
        status, after_s = self.doorkeeper.judge(weight_of(path, query), time.monotonic())
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.doorkeeper.used)}
        body: object = {"code": -1003, "msg": "Too much request weight used; current limit is 6000 per 1 MINUTE."}
        if status == 200:
            status, body = self._data.answer(path, query)
        else:
            headers["Retry-After"] = str(after_s)
        return web.json_response(body, status=status, headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        now_s = time.monotonic()
        status, after_s = self._refusal or (0, 0)
        if now_s < self.doorkeeper.banned_until_s:
            status, after_s = 418, max(1, round(self.doorkeeper.banned_until_s - now_s))
        elif self._attempts.add(now_s) > self.limits.attempts:
            status, after_s = 429, max(1, round(self.limits.attempts_window_s))
        if status:
            return web.Response(status=status, headers={"Retry-After": str(after_s)} if after_s else {})
        socket = web.WebSocketResponse(autoping=False, timeout=_CLOSE_S, compress=False)
        await socket.prepare(request)
        self._count += 1
        client = Client(self._count, socket, Counter(1.0), pong_s=now_s)
        for name in request.query.get("streams", "").split("/"):
            if name:
                client.streams[name] = None
        self.clients.append(client)
        tasks = [asyncio.create_task(work) for work in (self._write(client), self._age(client), self._ping(client))]
        try:
            await self._listen(client)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._forget(client)
        return socket

    def _forget(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
            self.gone.append(client)

    async def _listen(self, client: Client) -> None:
        async for message in client.socket:
            if client.messages.add(time.monotonic()) > self.limits.messages_per_s:
                client.ended_by = "too many messages"
                self.doorkeeper.refusals += 1
                await client.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                return
            if message.type is WSMsgType.PONG:
                client.pong_s = time.monotonic()
            elif message.type is WSMsgType.PING:
                await client.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT and (answer := self._obey(client, message.data)) is not None:
                client.outbox.put_nowait(json.dumps(answer))
        if not client.ended_by and client.socket.close_code not in (None, 1006):
            client.ended_by, client.is_acknowledged = "the client", True

    async def _write(self, client: Client) -> None:
        with suppress(ConnectionError):
            while True:
                item = await client.outbox.get()
                if isinstance(item, str):
                    await client.socket.send_str(item)
                else:
                    await client.socket.send_str(trade_frame(item, self._now_ms()))
                    client.sent.append((item.symbol, item.trade_id))

    async def _age(self, client: Client) -> None:
        notice_s = min(self.limits.shutdown_notice_s, self.limits.lifetime_s)
        await asyncio.sleep(self.limits.lifetime_s - notice_s)
        self._announce(client)
        await asyncio.sleep(notice_s)
        self._start(self._close(client, 1001, "its age"))

    async def _ping(self, client: Client) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(self.limits.ping_every_s)
                if time.monotonic() - client.pong_s > self.limits.pong_within_s:
                    self._abort(client, "no pong")
                    return
                await client.socket.ping(str(self._now_ms()).encode())

    def _announce(self, client: Client) -> None:
        shutdown = {"e": "serverShutdown", "E": self._now_ms()}
        client.outbox.put_nowait(json.dumps({"stream": "!serverShutdown", "data": shutdown}))

    async def _close(self, client: Client, code: int, ended_by: str) -> None:
        client.ended_by = client.ended_by or ended_by
        await client.socket.close(code=code)
        client.is_acknowledged = client.socket.close_code not in (None, 1006)
        self._forget(client)

    def _abort(self, client: Client, ended_by: str) -> None:
        client.ended_by = client.ended_by or ended_by
        transport = getattr(client.socket, "_req", None) and client.socket._req.transport  # type: ignore[union-attr]
        if transport is not None:
            transport.abort()
        self._forget(client)

    def _obey(self, client: Client, text: str) -> object:
        """Do what a command asks for; what is answered, if anything is."""
        try:
            command = json.loads(text)
        except ValueError as error:
            return {"code": 3, "msg": f"Invalid JSON: expected value at {str(error).rpartition(':')[2].strip()}"}
        if not isinstance(command, dict) or "method" not in command:
            return {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 1"}
        method, number, params = command["method"], command.get("id"), command.get("params", [])
        if method not in _METHODS:
            expected = ", ".join(f"`{each}`" for each in _METHODS)
            return {"code": 2, "msg": f"Invalid request: unknown variant `{method}`, expected one of {expected}"}
        if not isinstance(number, int) or number < 0:
            return {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
        if not isinstance(params, list) or not all(isinstance(each, str) for each in params):
            return {"code": 2, "msg": "Invalid request: property name must be a string", "id": number}
        if not self.answers_commands:
            return None
        return self._change(client, method, params, number)

    def _change(self, client: Client, method: str, params: list[str], number: int) -> Mapping[str, object]:
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(client.streams), "id": number}
        if method == "SUBSCRIBE":
            if len(client.streams.keys() | set(params)) > self.limits.streams:
                return {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number}
            client.streams.update(dict.fromkeys(params))
        elif method == "UNSUBSCRIBE":
            for each in params:
                client.streams.pop(each, None)
        return {"result": None, "id": number}


def trade_frame(trade: Trade, sent_ms: int) -> str:
    """The text frame that tells a trade, with the fields in Binance's order."""
    data = {
        "e": "trade",
        "E": sent_ms,
        "s": trade.symbol,
        "t": trade.trade_id,
        "p": trade.price,
        "q": trade.quantity,
        "T": trade.time_ms,
        "m": trade.is_buyer_maker,
        "M": True,
    }
    return json.dumps({"stream": f"{trade.symbol.lower()}@trade", "data": data}, separators=(",", ":"))
