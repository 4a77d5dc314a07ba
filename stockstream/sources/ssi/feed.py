"""SSI FastConnect Data, version 2, as a feed: an access token, a negotiation, then the hub's WebSocket."""

from __future__ import annotations

import binascii
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus

from stockstream.calendars import Calendar, Calendars, calendars_in
from stockstream.calendars.definition import TRADED
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Frame, Location, NotAdmitted, PartlyBad
from stockstream.sources.credentials import flaw, revealed
from stockstream.sources.ssi.parse import PREFIX, QUOTES, SOURCE, TRADES, parse

URL = "https://fc-datahub.ssi.com.vn"
API_URL = "https://fc-data.ssi.com.vn"
HUB = "FcMarketDataV2Hub"
"""What SignalR is asked for."""

_HUBS = json.dumps([{"name": HUB}])
_PROTOCOL = "1.5"
_ANSWER_S = 10.0
_RENEW_BEFORE_S = 3600.0
_UNHEARD = "HOSE"
"""The exchange of symbols of which no trade has been heard yet."""
_WHERE = (
    "see https://iboard.ssi.com.vn/support/api-service/management and set SSI_CONSUMER_ID and SSI_CONSUMER_SECRET, "
    "or SSI_CONSUMER_ID_FILE and SSI_CONSUMER_SECRET_FILE"
)


class SsiFeed:
    """One connection's worth of SSI's protocol; remembers what it has subscribed and each symbol's last trade.

    ``url`` is the hub's, ``ssi_api_url`` where access tokens come from. They are asked for with the consumer's id and
    secret, and again an hour before they end; all three are shown nowhere. When exchanges trade is told by
    ``calendars``, those of the package if none are given. ``now_s`` is the wall clock.
    """

    name = SOURCE
    # How many symbols and connections a key may have is not published: one connection can take whole exchanges.
    capabilities = Capabilities(
        kind="trades",
        symbols_per_connection=2000,
        silence_s=60.0,
        has_cumulative_volume=True,
        connections=1,
        latency_s=2.0,
        effective_after_s=2.0,
    )

    def __init__(
        self,
        url: str = URL,
        *,
        ssi_api_url: str | None = None,
        ssi_consumer_id: SecretStr | None = None,
        ssi_consumer_secret: SecretStr | None = None,
        calendars: Calendars | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self._api_url = ssi_api_url or API_URL
        self._id, self._secret, self._now_s = ssi_consumer_id, ssi_consumer_secret, now_s
        self._calendars = calendars or calendars_in(None)
        self._exchanges: set[str] | None = None
        self._access: SecretStr | None = None
        self._renew_s = 0.0
        self._wanted: dict[str, None] = {}
        self._last: dict[str, Tick] = {}
        self._unheard: dict[str, int] = {}
        self._commands = 0

    def lacks(self) -> str | None:
        """What to do if the consumer's id or secret is missing, or cannot be one."""
        if not (revealed(self._id) and revealed(self._secret)):
            return f"ssi needs the consumer id and secret of FastConnect Data: {_WHERE}"
        wrong = flaw("SSI_CONSUMER_ID", self._id) or flaw("SSI_CONSUMER_SECRET", self._secret)
        return None if wrong is None else f"{wrong}; {_WHERE}"

    async def locate(self) -> Location:
        """Get an access token if there is none, and negotiate a connection with it."""
        if (lack := self.lacks()) is not None:
            raise NotAdmitted("no key", fatal=lack)
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
                answer = await self._negotiate(client)
                if answer.status_code in (401, 403):
                    self._access = None  # it has ended before its time
                    answer = await self._negotiate(client)
        except httpx.TimeoutException:
            raise NotAdmitted("no answer") from None
        except httpx.ConnectError:
            raise NotAdmitted("refused") from None
        except httpx.HTTPError:
            raise NotAdmitted("unreachable") from None
        if answer.status_code != httpx.codes.OK:
            raise NotAdmitted(f"refused with HTTP {answer.status_code}")
        settled = _json_object(answer)
        query = {
            "transport": "webSockets",
            "connectionToken": settled.get("ConnectionToken", ""),
            "connectionData": _HUBS,
            "clientProtocol": settled.get("ProtocolVersion", _PROTOCOL),
        }
        parts = urlsplit(self._signalr("connect", query))
        scheme = "wss" if parts.scheme == "https" else "ws"
        return Location(parts._replace(scheme=scheme).geturl(), self._headers())

    async def _negotiate(self, client: httpx.AsyncClient) -> httpx.Response:
        if self._access is None or self._now_s() >= self._renew_s:
            await self._get_access(client)
        query = {"connectionData": _HUBS, "clientProtocol": _PROTOCOL}
        return await client.post(self._signalr("negotiate", query), headers=self._headers())

    async def _get_access(self, client: httpx.AsyncClient) -> None:
        asked = {"consumerID": revealed(self._id), "consumerSecret": revealed(self._secret)}
        answer = await client.post(f"{self._api_url.rstrip('/')}/api/v2/Market/AccessToken", json=asked)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise NotAdmitted(f"refused with HTTP {answer.status_code}")
        content = _json_object(answer)  # SSI says HTTP 200 whatever the matter is
        data = content.get("data")
        token = data.get("accessToken") if isinstance(data, dict) else None
        if content.get("status") != httpx.codes.OK or not isinstance(token, str) or not token:
            told = self._masked(str(content.get("message")))
            if content.get("status") == httpx.codes.TOO_MANY_REQUESTS or "quota" in told.lower():
                raise NotAdmitted("too many requests")
            raise NotAdmitted("key refused", fatal=f"SSI refuses the consumer id and secret ({told}): {_WHERE}")
        self._access, self._renew_s = SecretStr(token), _end_s(token) - _RENEW_BEFORE_S

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """A frame a channel; each names all symbols, as it takes the place of what that channel had before."""
        self._wanted.update(dict.fromkeys(symbols))
        self._exchanges = None
        for symbol in symbols:
            if symbol not in self._last:
                self._unheard.setdefault(symbol, now_ms // 1000 * 1000)  # SSI's times are whole seconds
        return self._switch()

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """A frame a channel with those that remain; none if there are none, as a channel cannot be left."""
        for symbol in symbols:
            self._wanted.pop(symbol, None)
            self._last.pop(symbol, None)
            self._unheard.pop(symbol, None)
        self._exchanges = None
        return self._switch() if self._wanted else []

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """The trades of a frame, and its quotes with the price of the last trade; without one they are left out.

        A trade that is told once more, as upon a subscription, is left out too. The first that is heard of a symbol
        becomes a quote if it happened before we subscribed: whoever was subscribed then has counted it.
        """
        try:
            return [tick for tick in parse(frame, received_ms) if self._is_news(tick)]
        except PartlyBad as error:
            raise PartlyBad(str(error), [tick for tick in error.ticks if self._is_news(tick)]) from None

    def is_open(self, now_ms: int) -> bool:
        """Whether an exchange of the symbols trades or holds an auction; none does at lunch and on holidays."""
        if self._exchanges is None:
            heard = (self._last.get(symbol) for symbol in self._wanted)
            self._exchanges = {_UNHEARD if last is None else last.exchange for last in heard} or {_UNHEARD}
        calendars = (self._calendars.of_exchange(self.name, exchange) for exchange in self._exchanges)
        return any(calendar is not None and calendar.phase_of(now_ms) in TRADED for calendar in calendars)

    def fatal(self, error: Exception) -> str | None:
        """Nothing that the hub says by itself: what is wrong with the key is found out when it is asked for a token."""
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            self._access = None
        return None

    def _switch(self) -> list[str]:
        names = "-".join(symbol.removeprefix(PREFIX) for symbol in self._wanted)
        return [self._invoke("SwitchChannels", f"{channel}:{names}") for channel in (TRADES, QUOTES)]

    def _invoke(self, method: str, argument: str) -> str:
        self._commands += 1
        return json.dumps({"H": HUB, "M": method, "A": [argument], "I": self._commands - 1})

    def _is_news(self, tick: Tick) -> bool:
        last = self._last.get(tick.symbol)
        if not tick.price:
            if last is not None:
                tick.price, tick.sequence, tick.day_volume = last.price, last.sequence, last.day_volume
            return last is not None
        if tick.event_time < self._unheard.pop(tick.symbol, 0):
            tick.kind = "quote"
        if last is None or last.exchange != tick.exchange:
            self._exchanges = None
        is_told_again = last is not None and _told(tick) == _told(last)
        self._last[tick.symbol] = tick
        return not is_told_again

    def _signalr(self, action: str, query: dict[str, str]) -> str:
        return f"{self.url.rstrip('/')}/v2.0/signalr/{action}?{urlencode(query)}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {revealed(self._access)}"}

    def _masked(self, text: str) -> str:
        for secret in (self._id, self._secret, self._access):
            if secret:
                text = text.replace(secret.get_secret_value(), "***")
        return text


def _told(tick: Tick) -> tuple[int, float, float, int]:
    return tick.event_time, tick.price, tick.last_size, tick.day_volume


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise NotAdmitted(f"no answer of SSI's, HTTP {answer.status_code}")
    return content


def _end_s(token: str) -> float:
    """When a JSON Web Token ends, epoch s; 0 if it does not say."""
    try:
        payload = token.split(".")[1]
        end_s = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        return float(end_s)
    except (ValueError, LookupError, TypeError, binascii.Error, OverflowError, RecursionError):
        return 0.0


def calendar_of(calendars: Calendars, symbol: str) -> Calendar | None:
    """The calendar of a symbol of which no trade has been heard yet; its name does not say."""
    return calendars.of_exchange(SOURCE, _UNHEARD)
