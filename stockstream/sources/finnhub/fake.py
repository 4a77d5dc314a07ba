"""A server that speaks Finnhub's protocol, with a made-up market behind it.

It behaves as Finnhub's is documented or has been observed to: HTTP 401 for a wrong key; one connection a key, a second
one ends both; the symbols beyond the plan's are refused with an error text that does not name them; an unknown symbol
with one that does; commands are not answered otherwise; several trades in a frame; text pings while it lives, which
stop some time before a connection dies.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from stockstream.sources.fakes import HOST, Client, FakeSockets

RUBBISH: tuple[str, ...] = (
    "no JSON",
    "[1, 2]",
    "{}",
    '{"type":"trade"}',
    '{"type":"trade","data":17}',
    '{"type":"trade","data":[{"s":"AAPL","p":NaN,"t":1,"v":1}]}',
    '{"type":"error","msg":"Something went wrong"}',
)
_PACE_S = 0.01
_TRADES_A_FRAME = 7
_UPDATE_SHARE = 0.1
_CODES = (("1",), ("1", "12"), ("1", "24", "12"), (), None)


@dataclass(frozen=True, slots=True)
class Print:
    """One entry of a frame; ``size`` 0 is an update of the price."""

    symbol: str
    time_ms: int
    price: float
    size: float
    conditions: tuple[str, ...] | None

    def wire(self) -> dict[str, Any]:
        """As it stands in the frame."""
        codes = None if self.conditions is None else list(self.conditions)
        return {"c": codes, "p": self.price, "s": self.symbol, "t": self.time_ms, "v": self.size}


@dataclass(slots=True)
class Tape:
    """Every print, and each that was sent with the number of its connection; how many frames, and of which kinds."""

    made: list[Print] = field(default_factory=list)
    sent: list[tuple[int, Print]] = field(default_factory=list)
    trades: int = 0
    pings: int = 0
    errors: list[str] = field(default_factory=list)
    rubbish: int = 0

    @property
    def frames(self) -> int:
        """All frames."""
        return self.trades + self.pings + len(self.errors) + self.rubbish


class Market:
    """Prints of ``symbols``; the same seed gives the same. Those with a colon trade fractions, others whole shares."""

    def __init__(self, symbols: Sequence[str], *, seed: int = 1) -> None:
        self.symbols = tuple(symbols)
        self._rng = random.Random(seed)  # noqa: S311 - a game, no secret
        self._cents = {symbol: 1_000 + 977 * rank for rank, symbol in enumerate(symbols)}

    def next(self, symbol: str, time_ms: int) -> Print:
        """What happens next to a symbol."""
        rng = self._rng
        self._cents[symbol] = max(1, self._cents[symbol] + rng.randint(-3, 3))
        size = round(rng.expovariate(5), 8) + 1e-8 if ":" in symbol else float(rng.randint(1, 300))
        codes = None if ":" in symbol else rng.choice(_CODES)
        is_update = rng.random() < _UPDATE_SHARE
        return Print(
            symbol,
            time_ms,
            self._cents[symbol] / 100,
            0.0 if is_update else round(size, 8),
            codes,
        )

    def choose(self, among: Sequence[str], count: int) -> list[str]:
        """Which symbols are traded next."""
        return self._rng.choices(among, k=count)


class FakeFinnhub(FakeSockets):
    """Serves a market at ``url`` to who has ``token``, while it is entered; a context manager.

    ``now_ms`` is the market's time. Something is traded every ``frame_every_s``, whoever listens, 0 for never: a
    connection gets a frame of what it has subscribed, and a ping every ``ping_every_s``.
    """

    def __init__(
        self,
        market: Market,
        now_ms: Callable[[], int],
        *,
        token: str = "t0ken",  # noqa: S107 - it opens nothing but this
        port: int = 0,
        symbols: int = 50,
        frame_every_s: float = 0.01,
        ping_every_s: float = 60.0,
    ) -> None:
        super().__init__(port)
        self.market, self.tape, self.token = market, Tape(), token
        self.places, self.frame_every_s, self.ping_every_s = symbols, frame_every_s, ping_every_s
        self.accepted, self.refused = 0, 0
        self.commands: list[tuple[float, str]] = []
        self._now_ms = now_ms
        self._refusing: tuple[int, dict[str, str]] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://{HOST}:{self.port}"

    async def close(self, code: int = 1001) -> None:
        """Close every connection in good order."""
        for client in list(self._clients):
            await client.socket.close(code)

    def fade(self) -> None:
        """Send nothing more on the connections that are open now, no ping either; they stay open."""
        for client in self._clients:
            client.is_silent = True

    def refuse(self, status: int | None = 429, retry_after_s: int | None = None) -> None:
        """Answer new connections with an HTTP status; None: accept them again."""
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self._refusing = None if status is None else (status, headers)

    async def send_rubbish(self, frames: Sequence[str] = RUBBISH) -> None:
        """Send frames that carry no trade on every connection."""
        for client in list(self._clients):
            for frame in frames:
                await client.socket.send(frame)
                self.tape.rubbish += 1

    async def send(self, prints: Sequence[Print], broken: Sequence[object] = ()) -> None:
        """Send one frame of ``prints`` with ``broken`` entries among them on every connection."""
        entries: list[object] = [each.wire() for each in prints]
        for number, entry in enumerate(broken):
            entries.insert(2 * number, entry)
        for client in list(self._clients):
            self._tell(client, prints, entries)

    async def _admit(self, socket: ServerConnection, request: Any) -> Any:
        refusal = self._refusing
        if refusal is None:
            given = parse_qs(urlsplit(request.path).query).get("token")
            if given == [self.token]:
                return None
            refusal = 401, {}
        self.refused += 1
        response = socket.respond(refusal[0], "refused\n")
        response.headers.update(refusal[1])
        return response

    async def _serve(self, socket: ServerConnection) -> None:
        self.accepted += 1
        client = Client(self.accepted, socket)
        if self._clients:
            # The key is in use: neither connection lives on.
            socket.transport.abort()
            await self.abort()
            return
        self._clients[client] = None
        try:
            async for frame in socket:
                self.commands.append((asyncio.get_running_loop().time(), str(frame)))
                await self._obey(client, json.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self._forget(client)

    async def _obey(self, client: Client, command: dict[str, Any]) -> None:
        kind, symbol = command.get("type"), command.get("symbol")
        if kind == "unsubscribe" and isinstance(symbol, str):
            client.symbols.pop(symbol, None)
        elif kind == "subscribe" and symbol in self.market.symbols:
            if symbol in client.symbols or len(client.symbols) < self.places:
                client.symbols.setdefault(symbol, time.monotonic() + self.effective_after_s)
            else:
                await self._complain(client, "Subscribing to too many symbols")
        else:
            await self._complain(client, f"Invalid symbol {symbol}")

    async def _complain(self, client: Client, text: str) -> None:
        self.tape.errors.append(text)
        await client.socket.send(json.dumps({"msg": text, "type": "error"}))

    def _market(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._trade()
        yield self._ping()

    async def _trade(self) -> None:
        while True:
            await asyncio.sleep(self.frame_every_s or _PACE_S)
            if not self.frame_every_s:
                continue
            names = self.market.choose(self.market.symbols, _TRADES_A_FRAME)
            prints = [self.market.next(name, self._now_ms()) for name in names]
            self.tape.made += prints
            for client in list(self._clients):
                asked_for = [each for each in prints if client.gets(each.symbol)]
                if asked_for and not client.is_silent:
                    self._tell(client, asked_for, [each.wire() for each in asked_for])

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self.ping_every_s)
            for client in self._open():
                broadcast([client.socket], '{"type":"ping"}')
                self.tape.pings += 1

    def _open(self) -> Iterator[Client]:
        for client in list(self._clients):
            if not client.is_silent and client.is_open:
                yield client

    def _tell(self, client: Client, prints: Sequence[Print], entries: Sequence[object]) -> None:
        if not client.is_open:
            return
        broadcast([client.socket], json.dumps({"data": entries, "type": "trade"}, separators=(",", ":")))
        self.tape.trades += 1
        self.tape.sent += [(client.number, each) for each in prints]
