"""A server that speaks SSI FastConnect Data's protocol, tokens, SignalR and hub, with a made-up market behind it.

It behaves as SSI's client expects it to: an access token is a JSON Web Token that ends; what is wrong with a key is
said with HTTP 200 and a ``status`` in the body; the hub lets nobody in without a token; a command is answered with its
number; a channel has the symbols that it was last switched to; an empty object every few seconds keeps a connection
alive; upon a subscription the last trade of a symbol is told once more. Symbols are traded from when they were first
asked for on, in the hours of the exchange, whoever listens; each date its volume begins anew.
"""

from __future__ import annotations

import asyncio
import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from stockstream.sources.fakes import HOST, FakeVenue
from stockstream.sources.market import DAY_MS, VIETNAM, session_at

HUB = "FcMarketDataV2Hub"
RUBBISH: tuple[str, ...] = (
    "no JSON",
    "[]",
    '{"M":17}',
    '{"M":[{"H":"FcMarketDataV2Hub","M":"Broadcast"}]}',
    '{"M":[{"H":"FcMarketDataV2Hub","M":"Broadcast","A":["no JSON"]}]}',
    '{"M":[{"H":"FcMarketDataV2Hub","M":"Error","A":["Connection has been blocked, quota 1 exceeded by 2"]}]}',
)
_AHEAD_OF_UTC = timedelta(hours=7)
_AHEAD_OF_UTC_MS = 7 * 3_600_000
_MESSAGES_A_FRAME = 3
_IDLE_S = 0.01
_BEHIND_S = 1.0


@dataclass(frozen=True, slots=True)
class Deal:
    """One trade; ``total`` is the volume of the day with it."""

    symbol: str
    time_ms: int
    price: float
    size: int
    total: int


@dataclass(slots=True)
class Tape:
    """Every trade, and each that was sent, repeats aside, with the number of its connection; how many of each kind.

    ``sent_ms`` is when each of those was sent, by the market's time.
    """

    made: list[Deal] = field(default_factory=list)
    sent: list[tuple[int, Deal]] = field(default_factory=list)
    sent_ms: list[int] = field(default_factory=list)
    repeats: int = 0
    frames: int = 0
    rubbish: int = 0


@dataclass(slots=True, eq=False)
class _Client:
    number: int
    socket: web.WebSocketResponse
    request: web.Request
    channels: dict[str, list[str]] = field(default_factory=dict)
    is_silent: bool = False
    is_closing: bool = False
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class FakeSsi(FakeVenue):
    """Serves a market of ``symbols`` at ``url`` to who has ``consumer``, an id and secret; a context manager.

    ``now_ms`` is the market's time. Three things happen every ``frame_every_s``, on average, 0 for never, with
    ``keeps_hours`` only while the exchange is open; ``quote_share`` of them are quotes, the others trades. A connection
    gets a frame of those that it has subscribed, and an empty one every ``alive_every_s``. Access tokens end after
    ``token_lasts_s``. The same seed gives the same market.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        now_ms: Callable[[], int],
        *,
        consumer: tuple[str, str] = ("c0nsumer", "s3cret"),
        port: int = 0,
        frame_every_s: float = 0.01,
        quote_share: float = 0.3,
        alive_every_s: float = 10.0,
        token_lasts_s: float = 8 * 3600.0,
        keeps_hours: bool = True,
        seed: int = 1,
    ) -> None:
        super().__init__(port)
        self.symbols, self.tape, self.consumer = tuple(symbols), Tape(), consumer
        self.frame_every_s, self.alive_every_s, self.token_lasts_s = frame_every_s, alive_every_s, token_lasts_s
        self.quote_share, self.keeps_hours = quote_share, keeps_hours
        self.accepted, self.tokens_given = 0, 0
        self._now_ms, self._rng = now_ms, random.Random(seed)  # noqa: S311 - a game, no secret
        self._last = {symbol: Deal(symbol, 0, 10_000.0 + 550 * rank, 0, 0) for rank, symbol in enumerate(symbols)}
        self.tokens: dict[str, float] = {}
        self._begun: dict[str, None] = {}
        self._told: dict[str, Deal] = {}
        self._clients: dict[_Client, None] = {}
        self._refusing: int | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, for tokens and the hub alike."""
        return f"http://{HOST}:{self.port}"

    @property
    def connections(self) -> list[dict[str, list[str]]]:
        """The symbols of each channel of each open connection."""
        return [dict(client.channels) for client in self._clients]

    async def close(self, code: int = 1001) -> None:
        """Close every connection in good order."""
        for client in list(self._clients):
            client.is_closing = True
            await client.socket.close(code=code)
            client.closed.set()

    async def abort(self) -> None:
        """Cut every connection off."""
        for client in list(self._clients):
            if client.request.transport is not None:
                client.request.transport.abort()
            await client.gone.wait()

    def be_silent(self) -> None:
        """Send nothing more on the connections that are open now."""
        for client in self._clients:
            client.is_silent = True

    def end_tokens(self) -> None:
        """Let no access token that was given be good any more."""
        self.tokens.clear()

    def refuse(self, status: int | None = 503) -> None:
        """Answer everything with an HTTP status; None: as usual."""
        self._refusing = status

    async def send_rubbish(self, frames: Sequence[str] = RUBBISH) -> None:
        """Send frames that carry nothing of use on every connection."""
        for client in list(self._clients):
            for frame in frames:
                await client.socket.send_str(frame)
                self.tape.rubbish += 1
                self.tape.frames += 1

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_post("/api/v2/Market/AccessToken", self._give_token)
        app.router.add_post("/v2.0/signalr/negotiate", self._negotiate)
        app.router.add_get("/v2.0/signalr/connect", self._connect)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _listen_no_more(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _market(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._trade()
        yield self._keep_alive()

    async def _give_token(self, request: web.Request) -> web.Response:
        if self._refusing is not None:
            return web.Response(status=self._refusing)
        asked = await request.json()
        if (asked.get("consumerID"), asked.get("consumerSecret")) != self.consumer:
            return web.json_response({"message": "Wrong consumerID or consumerSecret", "status": 401, "data": None})
        self.tokens_given += 1
        end_s = self._now_ms() / 1000 + self.token_lasts_s
        claims = {"exp": int(end_s), "jti": self.tokens_given}
        token = ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, {}))
        self.tokens[token] = end_s
        return web.json_response({"message": "Success", "status": 200, "data": {"accessToken": token}})

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._refusing is not None:
            return web.Response(status=self._refusing)
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        is_good = kind == "Bearer" and self._now_ms() / 1000 < self.tokens.get(token, 0.0)
        return None if is_good else web.Response(status=401)

    async def _negotiate(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        return web.json_response(
            {
                "Url": "/v2.0/signalr",
                "ConnectionToken": f"connection/{self._rng.random()}",
                "KeepAliveTimeout": 20.0,
                "DisconnectTimeout": 30.0,
                "TryWebSockets": True,
                "ProtocolVersion": "1.5",
            }
        )

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if request.query.get("connectionData") != json.dumps([{"name": HUB}]):
            return web.Response(status=400)
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.accepted += 1
        client = _Client(self.accepted, socket, request)
        self._clients[client] = None
        try:
            await self._tell(client, {"C": "d-1", "S": 1, "M": []})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._obey(client, json.loads(message.data))
        except ConnectionError:
            pass
        finally:
            del self._clients[client]
            if client.is_closing:
                await client.closed.wait()  # the answer to our close is still to come
            if socket.close_code not in (None, WSCloseCode.ABNORMAL_CLOSURE):
                self.acknowledged.add(client.number)
            client.gone.set()
        return socket

    async def _obey(self, client: _Client, command: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"I": str(command["I"])}
        if command.get("M") != "SwitchChannels":
            answer["E"] = f"'{command.get('M')}' method could not be resolved."
        await self._tell(client, answer)
        if "E" in answer:
            return
        await asyncio.sleep(self.effective_after_s)
        channel, _, names = command["A"][0].partition(":")
        before = client.channels.get(channel, [])
        client.channels[channel] = names.split("-")
        if channel == "X-TRADE":
            traded = [name for name in client.channels[channel] if name in self._last]
            self._begun.update(dict.fromkeys(traded))
            again = [self._last[name] for name in traded if name not in before and self._last[name].total]
            if again:
                await self._tell_deals(client, again, [])

    async def _trade(self) -> None:
        steady_s = asyncio.get_running_loop().time
        due_s = steady_s()
        while True:
            due_s = max(due_s, steady_s() - _BEHIND_S) + (self.frame_every_s or _IDLE_S)
            await asyncio.sleep(due_s - steady_s())  # what is overdue is sent at once
            if not self.frame_every_s or not self._begun or not self._is_open():
                continue
            names = self._rng.choices(list(self._begun), k=_MESSAGES_A_FRAME)
            quoted = [name for name in names if self._rng.random() < self.quote_share]
            deals = [self._deal(name) for name in names if name not in quoted]
            for client in list(self._clients):
                if not client.is_silent and not client.socket.closed:
                    await self._tell_deals(client, deals, quoted)

    def _is_open(self) -> bool:
        return not self.keeps_hours or session_at(VIETNAM, self._now_ms()) is not None

    def _deal(self, name: str) -> Deal:
        """The next trade of a symbol."""
        last, time_ms = self._last[name], self._now_ms() // 1000 * 1000
        size = 100 * self._rng.randint(1, 50)
        price = max(1_000.0, last.price + 50 * self._rng.randint(-1, 1))
        before = last.total if _date(time_ms) == _date(last.time_ms) else 0
        deal = self._last[name] = Deal(name, time_ms, price, size, before + size)
        self.tape.made.append(deal)
        return deal

    async def _tell_deals(self, client: _Client, deals: Sequence[Deal], quoted: Sequence[str]) -> None:
        """Send trades, and quotes of symbols, as far as the client has asked for them."""
        deals = [deal for deal in deals if deal.symbol in client.channels.get("X-TRADE", [])]
        quotes = [self._last[name] for name in quoted if name in client.channels.get("X-QUOTE", [])]
        texts = [*map(self._trade_text, deals), *map(self._quote_text, quotes)]
        sent_ms = self._now_ms()
        if texts and await self._broadcast(client, texts):
            news = [deal for deal in deals if self._told.get(deal.symbol) != deal]
            self.tape.sent += [(client.number, deal) for deal in news]
            self.tape.sent_ms += [sent_ms] * len(news)
            self.tape.repeats += len(deals) - len(news)
            self._told.update({deal.symbol: deal for deal in news})

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.alive_every_s)
            for client in list(self._clients):
                if not client.is_silent:
                    await self._tell(client, {})

    async def _broadcast(self, client: _Client, texts: Sequence[str]) -> bool:
        return await self._tell(
            client, {"C": "d-2", "M": [{"H": HUB, "M": "Broadcast", "A": [text]} for text in texts]}
        )

    async def _tell(self, client: _Client, content: dict[str, Any]) -> bool:
        try:
            await client.socket.send_str(json.dumps(content, separators=(",", ":")))
        except ConnectionError:
            return False
        self.tape.frames += 1
        return True

    def _trade_text(self, deal: Deal) -> str:
        return self._text(
            "X-TRADE", deal.symbol, deal.time_ms, LastPrice=deal.price, LastVol=float(deal.size),
            TotalVol=float(deal.total), AvgPrice="NaN", TradingStatus="N", Change=50.0, RatioChange=0.22, Side="BU",
        )  # fmt: skip

    def _quote_text(self, last: Deal) -> str:
        bid, ask = last.price - 50, last.price + 50
        return self._text(
            "X-QUOTE", last.symbol, self._now_ms(), BidPrice1=bid, BidVol1=1000.0, AskPrice1=ask, AskVol1=700.0
        )

    @staticmethod
    def _text(kind: str, symbol: str, time_ms: int, **fields: object) -> str:
        there = datetime.fromtimestamp(time_ms / 1000, UTC) + _AHEAD_OF_UTC
        content = {
            "RType": kind,
            "TradingDate": there.strftime("%d/%m/%Y"),
            "Time": there.strftime("%H:%M:%S"),
            "Symbol": symbol,
            **fields,
            "MarketId": "HOSE",
            "Exchange": "HOSE",
            "TradingSession": "LO",
        }
        return json.dumps({"DataType": kind, "Content": json.dumps(content)})


def _date(time_ms: int) -> int:
    """The trading date, as days since the epoch."""
    return (time_ms + _AHEAD_OF_UTC_MS) // DAY_MS
