"""The server: connections, subscriptions, the pace of snapshots, and faults on order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from stockstream.sources.market import REGULAR, Instrument, Market, Trade
from stockstream.sources.yahoo.fake.tape import Sent, Tape, pricing_frame

HOST = "127.0.0.1"
_PACE_S = 0.005
_RUBBISH: tuple[str | bytes, ...] = (
    "no JSON",
    "[1, 2]",
    '{"type":"pricing","message":"not base64"}',
    '{"type":"pricing","message":"AAAA"}',
    '{"type":"pricing","message":17}',
    b"\xff\xfe\x00",
)


@dataclass(slots=True, eq=False)
class _Client:
    number: int
    socket: ServerConnection
    symbols: dict[str, None] = field(default_factory=dict)
    is_silent: bool = False


class FakeYahoo:
    """Serves a market at ``url`` while it is entered; a context manager.

    ``now_ms`` is the market's time. At most one snapshot of a symbol is sent in ``snapshot_every_ms`` of it, 0 for one
    of every trade. What happens is kept on ``tape``, unless ``keep_tape`` is false: it grows without bound. A port of 0
    means any; it stays the same when started again.
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
        self.market, self.tape, self.port = market, Tape(), port
        self._keeps_tape = keep_tape
        self._now_ms, self._every_ms, self._places = now_ms, snapshot_every_ms, symbols_per_connection
        self._clients: dict[_Client, None] = {}
        self._audience: dict[str, dict[_Client, None]] = {}
        self._waiting: dict[str, Trade] = {}
        self._told_ms: dict[str, int] = {}
        self._connections = 0
        self._refusing: int | None = None
        self._server: Server | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://{HOST}:{self.port}/?version=2"

    @property
    def connections(self) -> list[list[str]]:
        """The symbols that each open connection gets."""
        return [list(client.symbols) for client in self._clients]

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._connections

    async def start(self) -> None:
        """Listen, and let the market run."""
        self._server = await serve(
            self._serve, HOST, self.port, process_request=self._admit, compression=None, ping_interval=None
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop listening and drop every connection; the market goes on."""
        await self.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    async def close(self, code: int = 1000) -> None:
        """Close every connection in good order: each has received all that was sent when this returns."""
        await asyncio.gather(*(client.socket.close(code) for client in list(self._clients)))

    async def abort(self) -> None:
        """Cut every connection off."""
        for client in list(self._clients):
            client.socket.transport.abort()
            await client.socket.wait_closed()

    def be_silent(self, is_silent: bool = True) -> None:
        """Send nothing more on the connections that are open now, to no new subscription either; pings are answered."""
        for client in self._clients:
            client.is_silent = is_silent

    def refuse(self, status: int | None = 503) -> None:
        """Answer new connections with an HTTP status; None: accept them again."""
        self._refusing = status

    async def send_rubbish(self) -> int:
        """Send every kind of frame that carries no price on every connection; how many were sent."""
        for client in list(self._clients):
            for frame in _RUBBISH:
                # As Yahoo's do, all come as text.
                await client.socket.send(frame, text=True)
                self.tape.rubbish += 1
        return len(_RUBBISH) * len(self._clients)

    async def _admit(self, socket: ServerConnection, request: Any) -> Any:
        return None if self._refusing is None else socket.respond(self._refusing, "refused on order\n")

    async def _serve(self, socket: ServerConnection) -> None:
        self._connections += 1
        client = _Client(self._connections, socket)
        self._clients[client] = None
        try:
            async for frame in socket:
                if not self._obey(client, frame):
                    socket.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            del self._clients[client]
            self._drop(client, list(client.symbols))

    def _obey(self, client: _Client, frame: str | bytes) -> bool:
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
                client.symbols[symbol] = None
                self._audience.setdefault(symbol, {})[client] = None
                self._tell_last(client, symbol)
        return True

    def _drop(self, client: _Client, symbols: list[str]) -> None:
        for symbol in symbols:
            client.symbols.pop(symbol, None)
            self._audience.get(symbol, {}).pop(client, None)

    def _tell_last(self, client: _Client, symbol: str) -> None:
        each = self.market.instruments.get(symbol)
        if each is not None:
            hours = each.session(each.last_ms)
            self._send(
                each, each.price, each.last_ms, each.volume, REGULAR if hours is None else hours, {client: None}, True
            )

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
        audience: dict[_Client, None],
        is_last_known: bool,
    ) -> None:
        told_ms = time_ms - time_ms % 1000
        open_ones = [client for client in audience if client.socket.state.name == "OPEN" and not client.is_silent]
        sent_ms = self._now_ms()
        broadcast((client.socket for client in open_ones), pricing_frame(each, price, told_ms, volume, hours))
        if self._keeps_tape:
            self.tape.sent += [
                Sent(client.number, each.symbol, told_ms, price, volume, sent_ms, is_last_known) for client in open_ones
            ]
