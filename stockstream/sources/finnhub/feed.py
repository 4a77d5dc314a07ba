"""Finnhub's WebSocket as a feed: one connection a key, one command a symbol, pings as text while nothing is traded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr
from websockets.exceptions import InvalidStatus

from stockstream.errors import BadMessage, SettingsError
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Frame, Location, NotAdmitted, PartlyBad, Refused
from stockstream.sources.credentials import flaw, revealed
from stockstream.sources.finnhub.parse import PREFIX, SOURCE, parse

URL = "wss://ws.finnhub.io"

_WHERE = "see https://finnhub.io/dashboard and set FINNHUB_API_TOKEN, or FINNHUB_API_TOKEN_FILE"
_UNAUTHORIZED, _MISPLACED = {401, 403}, {400, 404, 405, 410}


class FinnhubFeed:
    """One connection's worth of Finnhub's protocol.

    ``finnhub_symbols`` is how many the key's plan allows (50 with a free one). The token is sent to ``url`` and shown
    nowhere. There is no history: Finnhub sells its candles, and past trades it does not give.
    """

    name = SOURCE
    # A ping comes about once a minute, at night as well, and stops some time before a connection dies.
    capabilities = Capabilities(
        kind="trades",
        symbols_per_connection=50,
        silence_s=150.0,
        heartbeat=True,
        connections=1,
        command_every_s=0.05,
        latency_s=2.0,
        effective_after_s=2.0,
    )

    def __init__(
        self, url: str = URL, *, finnhub_api_token: SecretStr | None = None, finnhub_symbols: int | None = None
    ) -> None:
        self.url = url
        if any(name == "token" for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)):
            raise SettingsError("the address of finnhub holds a token: put that into FINNHUB_API_TOKEN instead")
        self._token = finnhub_api_token
        if finnhub_symbols is not None:
            self.capabilities = replace(self.capabilities, symbols_per_connection=finnhub_symbols)

    def lacks(self) -> str | None:
        """What to do if there is no key, or what cannot be one."""
        if not self._key:
            return f"finnhub needs an API key, a free one will do: {_WHERE}"
        wrong = flaw("FINNHUB_API_TOKEN", self._token)
        return None if wrong is None else f"{wrong}; {_WHERE}"

    async def locate(self) -> Location:
        """The address with the key in it."""
        if (lack := self.lacks()) is not None:
            raise NotAdmitted("no key", fatal=lack)
        query, token = urlsplit(self.url).query, urlencode({"token": self._key})
        return Location(urlsplit(self.url)._replace(query=f"{query}&{token}" if query else token).geturl())

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """One frame a symbol; Finnhub does not answer them."""
        return [_command("subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """One frame a symbol."""
        return [_command("unsubscribe", symbol) for symbol in symbols]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """The trades and price updates of a frame."""
        try:
            return parse(frame, received_ms)
        except PartlyBad as error:
            raise PartlyBad(self._discreet(error, frame), error.ticks) from None
        except Refused as error:
            told = self._discreet(error, frame)
            raise Refused(told, error.symbols if told == str(error) else []) from None
        except BadMessage as error:
            raise BadMessage(self._discreet(error, frame)) from None

    def is_open(self, now_ms: int) -> bool:
        """Always: pings come at any hour."""
        return True

    def fatal(self, error: Exception) -> str | None:
        """A wrong key, or a wrong address."""
        if not isinstance(error, InvalidStatus):
            return None
        status = error.response.status_code
        if status in _UNAUTHORIZED:
            return f"Finnhub does not know the API key (HTTP {status}): {_WHERE}"
        if status in _MISPLACED:
            return f"Finnhub refuses connections with HTTP {status}: see the address {self.url}"
        return None

    @property
    def _key(self) -> str:
        return revealed(self._token)

    def _discreet(self, error: BadMessage, frame: Frame) -> str:
        """What is wrong with a frame, without the key or a part of it, should Finnhub have put it in there."""
        key = self._key
        text = frame.encode() if isinstance(frame, str) else frame
        if key and key.encode() in text:
            return "a bad frame that is not shown because the API key is in it"
        return str(error).replace(key, "***") if key else str(error)


def _command(kind: str, symbol: str) -> str:
    return json.dumps({"type": kind, "symbol": symbol.removeprefix(PREFIX)})
