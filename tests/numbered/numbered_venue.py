"""The venue's side: trades at random while somebody listens, a tape of them, and faults on order."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import WSMsgType, web
from numbered_feed import tick_of

from stockstream.models import Tick

_EVERY_S = 0.02
_PAGE = 40


class Venue:
    """Trades the symbols of ``tape`` once anybody has subscribed them, and never ceases until `stop`."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.tape: dict[str, list[tuple[str, int, float, float, int]]] = {symbol: [] for symbol in symbols}
        self.url = ""
        self.tells_history = True
        self.refuses = False
        self.is_trading = True
        self.is_silent = False
        self.withheld = 0
        self._listeners: dict[web.WebSocketResponse, set[str]] = {}
        self._begun: set[str] = set()
        self._random = random.Random(7)

    def ticks(self) -> list[Tick]:
        """All trades that there ever were."""
        return [tick_of(list(each), each[1]) for trades in self.tape.values() for each in trades]

    async def drop(self) -> None:
        """End every connection without a word."""
        for socket in list(self._listeners):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        wanted: set[str] = set()
        self._listeners[socket] = wanted
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    wanted |= set(asked.get("subscribe", []))
                    wanted -= set(asked.get("unsubscribe", []))
                    self._begun |= wanted
        finally:
            self._listeners.pop(socket, None)
        return socket

    async def history(self, request: web.Request) -> web.Response:
        if not self.tells_history:
            raise web.HTTPServiceUnavailable
        asked = request.query
        first, last, after = int(asked["from"]), int(asked["until"]), int(asked["after"])
        found = [each for each in self.tape[asked["symbol"]] if first <= each[1] <= last and each[4] > after]
        return web.json_response(found[:_PAGE])

    async def trade(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            if not self.is_trading:
                await self._send("", "[]")  # a sign of life
                continue
            for symbol in sorted(self._begun):
                trades = self.tape[symbol]
                size = self._random.randint(1, 10**9) / 1e8
                price = 100 + round(self._random.gauss(0, 1), 2)
                trades.append((symbol, int(time.time() * 1000), price, size, len(trades) + 1))
                if self.withheld:
                    self.withheld -= 1
                    continue
                await self._send(symbol, json.dumps([trades[-1]]))

    async def _send(self, symbol: str, frame: str) -> None:
        for socket, wanted in list(self._listeners.items()):
            if not self.is_silent and (symbol in wanted or not symbol):
                with suppress(ConnectionError):
                    await socket.send_str(frame)


@asynccontextmanager
async def venue(symbols: Sequence[str]) -> AsyncIterator[Venue]:
    """A venue on loopback."""
    made = Venue(symbols)
    app = web.Application()
    app.router.add_get("/", made.listen)
    app.router.add_get("/trades", made.history)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"ws://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    trading = asyncio.create_task(made.trade())
    try:
        yield made
    finally:
        trading.cancel()
        await made.drop()
        await runner.cleanup()
