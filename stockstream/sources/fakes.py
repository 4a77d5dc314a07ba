"""What servers that stand for venues have in common: listening, clients that can be cut off, a market that goes on."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve

HOST = "127.0.0.1"


class FakeVenue(ABC):
    """Serves a market while it is entered; a context manager.

    A ``port`` of 0 means any; it stays the same when started again. ``acknowledged`` are the numbers of the connections
    that both sides have closed in good order. What is subscribed flows ``effective_after_s`` later.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: set[int] = set()
        self.effective_after_s = 0.0
        self._pumps: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, and let the market run."""
        self.port = await self._listen()
        if not self._pumps:
            self._pumps = [asyncio.create_task(pump) for pump in self._market()]

    async def stop(self) -> None:
        """Stop listening and drop every connection; the market goes on."""
        await self.abort()
        await self._listen_no_more()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pump in self._pumps:
            pump.cancel()
        for pump in self._pumps:
            with suppress(asyncio.CancelledError):
                await pump
        await self.stop()

    @abstractmethod
    async def abort(self) -> None:
        """Cut every connection off."""

    @abstractmethod
    async def _listen(self) -> int:
        """Begin to listen; the port."""

    @abstractmethod
    async def _listen_no_more(self) -> None: ...

    @abstractmethod
    def _market(self) -> Iterable[Coroutine[Any, Any, None]]:
        """What goes on for ever."""


@dataclass(slots=True, eq=False)
class Client:
    """A connection: what it gets, since which steady second, and whether nothing more is sent on it."""

    number: int
    socket: ServerConnection
    symbols: dict[str, float] = field(default_factory=dict)
    is_silent: bool = False

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent on it."""
        return self.socket.state.name == "OPEN"

    def gets(self, symbol: str) -> bool:
        """Whether ``symbol`` flows on it by now."""
        return self.symbols.get(symbol, inf) <= time.monotonic()


class FakeSockets(FakeVenue):
    """A venue of WebSockets alone."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._clients: dict[Client, None] = {}
        self._server: Server | None = None

    @property
    def connections(self) -> list[list[str]]:
        """The symbols that each open connection gets."""
        return [list(client.symbols) for client in self._clients]

    async def abort(self) -> None:
        """Cut every connection off."""
        for client in list(self._clients):
            client.socket.transport.abort()
            await client.socket.wait_closed()

    def _forget(self, client: Client) -> None:
        """A connection has ended."""
        del self._clients[client]
        if client.socket.protocol.close_rcvd is not None:
            self.acknowledged.add(client.number)

    @abstractmethod
    async def _serve(self, socket: ServerConnection) -> None:
        """One connection, from its beginning to its end."""

    @abstractmethod
    async def _admit(self, socket: ServerConnection, request: Any) -> Any:
        """None to let a client in, or the answer that it gets instead."""

    async def _listen(self) -> int:
        self._server = await serve(
            self._serve, HOST, self.port, process_request=self._admit, compression=None, ping_interval=None
        )
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def _listen_no_more(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
