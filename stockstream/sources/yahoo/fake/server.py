"""The server: connections, subscriptions, the pace of snapshots, and faults on order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from stockstream.sources.fakes import HOST, Client, FakeSockets
from stockstream.sources.market import REGULAR, Instrument, Market, Trade
from stockstream.sources.yahoo.fake.tape import Sent, Tape, pricing_frame

_PACE_S = 0.005
_RUBBISH: tuple[str | bytes, ...] = (
    "no JSON",
    "[1, 2]",
    '{"type":"pricing","message":"not base64"}',
    '{"type":"pricing","message":"AAAA"}',
    '{"type":"pricing","message":17}',
    b"\xff\xfe\x00",
)


class FakeYahoo(FakeSockets):
    """Serves a market at ``url`` while it is entered; a context manager.

    ``now_ms`` is the market's time. At most one snapshot of a symbol is sent in ``snapshot_every_ms`` of it, 0 for one
    of every trade. What happens is kept on ``tape``, unless ``keep_tape`` is false: it grows without bound.
    """

    def __init__(
        self,
        market: Market,
        now_ms: Callable[[], int],
        *,
        port: int = 0,
        snapshot_every_ms: int = 1000,
        symbols_per_connection: int = 100,
        keep_tape: bool = True,
    ) -> None:
        super().__init__(port)
        self.market, self.tape = market, Tape()
        self._keeps_tape = keep_tape
        self._now_ms, self._every_ms, self._places = now_ms, snapshot_every_ms, symbols_per_connection
        self._audience: dict[str, dict[Client, None]] = {}
        self._waiting: dict[str, Trade] = {}
        self._told_ms: dict[str, int] = {}
        self._connections = 0
        self._refusing: tuple[int, dict[str, str]] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://{HOST}:{self.port}/?version=2"

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._connections

    async def close(self, code: int = 1000) -> None:
        """Close every connection in good order: each has received all that was sent when this returns."""
        await asyncio.gather(*(client.socket.close(code) for client in list(self._clients)))

    def be_silent(self, is_silent: bool = True) -> None:
        """Send nothing more on the connections that are open now, to no new subscription either; pings are answered."""
        for client in self._clients:
            client.is_silent = is_silent

    def refuse(self, status: int | None = 503, retry_after_s: int | None = None) -> None:
        """Answer new connections with an HTTP status; None: accept them again."""
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self._refusing = None if status is None else (status, headers)

    async def send_rubbish(self) -> int:
        """Send every kind of frame that carries no price on every connection; how many were sent."""
        for client in list(self._clients):
            for frame in _RUBBISH:
                # As Yahoo's do, all come as text.
                await client.socket.send(frame, text=True)
                self.tape.rubbish += 1
        return len(_RUBBISH) * len(self._clients)

    async def _admit(self, socket: ServerConnection, request: Any) -> Any:
        if self._refusing is None:
            return None
        response = socket.respond(self._refusing[0], "refused on order\n")
        response.headers.update(self._refusing[1])
        return response

    async def _serve(self, socket: ServerConnection) -> None:
        self._connections += 1
        client = Client(self._connections, socket)
        self._clients[client] = None
        try:
            async for frame in socket:
                if not self._obey(client, frame):
                    socket.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            self._forget(client)
            self._drop(client, list(client.symbols))

    def _obey(self, client: Client, frame: str | bytes) -> bool:
        """Do what a client asks for; False if nobody can make sense of it."""
        if not frame.strip():
            return True
        try:
            command = json.loads(frame)
        except ValueError:
            return False
        if not isinstance(command, dict) or not command.keys() <= {"subscribe", "unsubscribe"}:
            return False
        for symbols in command.values():
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                return False
        self._drop(client, command.get("unsubscribe", []))
        for symbol in command.get("subscribe", []):
            if symbol not in client.symbols and len(client.symbols) < self._places:
                client.symbols[symbol] = time.monotonic() + self.effective_after_s
                if self.effective_after_s:
                    asyncio.get_running_loop().call_later(self.effective_after_s, self._begin, client, symbol)
                else:
                    self._begin(client, symbol)
        return True

    def _begin(self, client: Client, symbol: str) -> None:
        if symbol in client.symbols:
            self._audience.setdefault(symbol, {})[client] = None
            self._tell_last(client, symbol)

    def _drop(self, client: Client, symbols: list[str]) -> None:
        for symbol in symbols:
            client.symbols.pop(symbol, None)
            self._audience.get(symbol, {}).pop(client, None)

    def _tell_last(self, client: Client, symbol: str) -> None:
        each = self.market.instruments.get(symbol)
        if each is not None:
            hours = each.session(each.last_ms)
            self._send(
                each, each.price, each.last_ms, each.volume, REGULAR if hours is None else hours, {client: None}, True
            )

    def _market(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._run()

    async def _run(self) -> None:
        while True:
            self.advance()
            await asyncio.sleep(_PACE_S)

    def advance(self) -> None:
        """Let the market catch up with its time, and send the snapshots that are due."""
        now_ms = self._now_ms()
        for trade in self.market.until(now_ms):
            if self._keeps_tape:
                self.tape.trades.append(trade)
            if self._every_ms == 0:
                self._tell(trade)
            else:
                self._waiting[trade.symbol] = trade
        for symbol, trade in list(self._waiting.items()):
            if now_ms - self._told_ms.get(symbol, 0) >= self._every_ms:
                self._told_ms[symbol] = now_ms
                del self._waiting[symbol]
                self._tell(trade)

    def _tell(self, trade: Trade) -> None:
        audience = self._audience.get(trade.symbol)
        if audience:
            each = self.market.instruments[trade.symbol]
            self._send(each, trade.price, trade.time_ms, trade.volume, trade.hours, audience, False)

    def _send(
        self,
        each: Instrument,
        price: float,
        time_ms: int,
        volume: int,
        hours: int,
        audience: dict[Client, None],
        is_last_known: bool,
    ) -> None:
        told_ms = time_ms - time_ms % 1000
        open_ones = [client for client in audience if client.is_open and not client.is_silent]
        sent_ms = self._now_ms()
        broadcast((client.socket for client in open_ones), pricing_frame(each, price, told_ms, volume, hours))
        if self._keeps_tape:
            self.tape.sent += [
                Sent(client.number, each.symbol, told_ms, price, volume, sent_ms, is_last_known) for client in open_ones
            ]
