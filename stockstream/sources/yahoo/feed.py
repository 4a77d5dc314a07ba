"""Yahoo's streamer as a feed. Undocumented by Yahoo, and granted for personal use only."""

from __future__ import annotations

import json
from collections.abc import Sequence

from websockets.exceptions import InvalidStatus

from stockstream.calendars import Calendar, Calendars, calendars_in
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Frame
from stockstream.sources.yahoo.parse import parse

URL = "wss://streamer.finance.yahoo.com/?version=2"

_REFUSED = {400, 401, 403, 404, 405, 410}


class YahooFeed:
    """One connection's worth of Yahoo's protocol; remembers which symbols have not been heard of yet.

    When symbols are traded is told by ``calendars``, those of the package if none are given.
    """

    name = "yahoo"
    capabilities = Capabilities(
        kind="snapshots",
        symbols_per_connection=100,
        silence_s=60.0,
        has_cumulative_volume=True,
        latency_s=2.0,
        effective_after_s=2.0,
    )

    def __init__(self, url: str = URL, *, calendars: Calendars | None = None) -> None:
        self.url = url
        self._calendars = calendars or calendars_in(None)
        self._groups: dict[str, str] = {}
        self._unheard: dict[str, int] = {}

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """One frame for all of them."""
        self._groups.update({symbol: suffix_of(symbol) for symbol in symbols})
        self._unheard.update(dict.fromkeys(symbols, now_ms))
        return [json.dumps({"subscribe": list(symbols)})]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """One frame for all of them."""
        for symbol in symbols:
            self._groups.pop(symbol, None)
            self._unheard.pop(symbol, None)
        return [json.dumps({"unsubscribe": list(symbols)})]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """A snapshot, or nothing.

        Yahoo answers a subscription with the last known price, possibly days old: that one is of kind ``quote``.
        """
        tick = parse(frame, received_ms)
        if tick is None:
            return []
        if self._unheard:
            subscribed_ms = self._unheard.pop(tick.symbol, 0)
            if tick.event_time < subscribed_ms:
                tick.kind = "quote"
        return [tick]

    def is_open(self, now_ms: int) -> bool:
        """Whether any of the subscribed symbols is surely traded now: in no auction, no break, and on no holiday."""
        calendars = (self._calendars.of_suffix(self.name, group) for group in set(self._groups.values()))
        return any(calendar is not None and calendar.is_continuous(now_ms) for calendar in calendars)

    def fatal(self, error: Exception) -> str | None:
        """A refusal that is not about load: the address is wrong, or this network is not wanted."""
        if isinstance(error, InvalidStatus) and error.response.status_code in _REFUSED:
            return f"Yahoo refuses connections with HTTP {error.response.status_code}: see the address {self.url}"
        return None


def calendar_of(calendars: Calendars, symbol: str) -> Calendar | None:
    """The calendar of a symbol by its name alone, None where that says nothing."""
    return calendars.of_suffix(YahooFeed.name, suffix_of(symbol))


def suffix_of(symbol: str) -> str:
    """What decides the hours of a symbol: its exchange's suffix, ``crypto``, or ``?`` where nothing is known."""
    if symbol[-2:] in ("=X", "=F"):
        return symbol[-2:]
    if symbol.startswith("^"):
        return "?"
    _, dot, suffix = symbol.rpartition(".")
    if dot:
        return suffix
    # BTC-USD is a pair of currencies, BRK-B a class of shares.
    _, dash, last = symbol.rpartition("-")
    return "crypto" if dash and len(last) > 2 else ""
