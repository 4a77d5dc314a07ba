"""Binance's market streams as a feed: raw trades, many symbols on one connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from websockets.exceptions import InvalidStatus

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.binance.parse import NAME, PREFIX, parse
from stockstream.sources.contract import Capabilities, Confirmed, Ending, Frame, Refused

URL = "wss://stream.binance.com:9443/stream"

_BANNED, _FIREWALL = 418, 403
_WRONG_ADDRESS = {400, 401, 404, 405, 410}
_STREAMS_A_COMMAND = 200
_MOST_PENDING = 1000


class BinanceFeed:
    """The commands and frames of one runner's connections; remembers which commands are not answered yet.

    The limits are those of Binance's documentation. Of the five messages that a connection may send in a second two are
    left to pings and pongs.
    """

    name = NAME
    capabilities = Capabilities(
        kind="trades",
        symbols_per_connection=1024,
        silence_s=60.0,
        has_trade_ids=True,
        sequential_ids=True,
        history_days=3650,
        lifetime_s=86_400.0,
        command_every_s=1 / 3,
        attempts=300,
        attempts_window_s=300.0,
        latency_s=2.0,
        confirms=True,
    )

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self._ids = count(1)
        self._pending: dict[int, tuple[str, ...]] = {}

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """A few frames, each for many symbols."""
        return list(self._commands("SUBSCRIBE", symbols))

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """A few frames, each for many symbols."""
        return list(self._commands("UNSUBSCRIBE", symbols))

    def _commands(self, method: str, symbols: Sequence[str]) -> Iterator[str]:
        for first in range(0, len(symbols), _STREAMS_A_COMMAND):
            some = tuple(symbols[first : first + _STREAMS_A_COMMAND])
            number = next(self._ids)
            while len(self._pending) >= _MOST_PENDING:  # of connections that ended before they answered
                del self._pending[next(iter(self._pending))]
            self._pending[number] = some if method == "SUBSCRIBE" else ()
            params = [f"{symbol.removeprefix(PREFIX).lower()}@trade" for symbol in some]
            yield json.dumps({"method": method, "params": params, "id": number})

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """One trade; or what Binance says of the connection, as a notice."""
        found = parse(frame, received_ms)
        if isinstance(found, Tick):
            return [found]
        self._answer(found)
        if found.get("e") == "serverShutdown":
            raise Ending("Binance says that it will shut down this connection")
        if isinstance(found.get("e"), str):
            return []
        raise BadMessage(f"neither an event nor an answer: {str(found)[:120]}")

    def _answer(self, found: dict[str, Any]) -> None:
        """Raise what an answer to a command says; do nothing where ``found`` is none."""
        nested = found.get("error")
        problem = nested if isinstance(nested, dict) else found
        number = found.get("id")
        if "msg" in problem and "code" in problem:
            concerned = self._pending.pop(number, ()) if isinstance(number, int) else ()
            raise Refused(f"{str(problem['msg'])[:200]} (code {str(problem['code'])[:20]})", concerned)
        if "result" in found and isinstance(number, int):
            raise Confirmed(self._pending.pop(number, ()))

    def is_open(self, now_ms: int) -> bool:
        """Always."""
        return True

    def fatal(self, error: Exception) -> str | None:
        """A ban, the firewall, or an address where nothing is."""
        if not isinstance(error, InvalidStatus):
            return None
        status = error.response.status_code
        if status == _BANNED:
            return "Binance has banned this address (HTTP 418): fewer programs must connect from it"
        if status == _FIREWALL:
            return "Binance's firewall refuses this address (HTTP 403): connect less, or from another network"
        if status in _WRONG_ADDRESS:
            return f"Binance refuses connections with HTTP {status}: see the address {self.url}"
        return None
