"""Every source: its topic, how its feed is made, and which symbols are its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from stockstream.calendars import Calendar, Calendars
from stockstream.errors import InvalidInput
from stockstream.models import check_symbol
from stockstream.sources.binance.feed import URL as BINANCE_URL
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.history import BinanceHistory
from stockstream.sources.binance.rest import URL as BINANCE_REST_URL
from stockstream.sources.binance.ticker import BinanceTicker
from stockstream.sources.contract import CandleHistory, Capabilities, Feed, History, Poll
from stockstream.sources.finnhub.feed import URL as FINNHUB_URL
from stockstream.sources.finnhub.feed import FinnhubFeed
from stockstream.sources.finnhub.parse import calendar_of as finnhub_calendar
from stockstream.sources.runner import Socket
from stockstream.sources.sim.feed import SimFeed, SimHistory
from stockstream.sources.sim.options import URL as SIM_URL
from stockstream.sources.sim.stream import open_stream
from stockstream.sources.ssi.feed import URL as SSI_URL
from stockstream.sources.ssi.feed import SsiFeed
from stockstream.sources.ssi.feed import calendar_of as ssi_calendar
from stockstream.sources.yahoo.feed import URL as YAHOO_URL
from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.sources.yahoo.feed import calendar_of as yahoo_calendar


@dataclass(frozen=True, slots=True)
class Source:
    """A venue: ``topic`` without prefix, ``url`` by default, and ``make_feed`` for one connection to a URL.

    ``calendar_of`` tells by which calendar a symbol of it is traded that no tick has named the exchange of yet.
    ``settings`` are the names of those that ``make_feed`` is given too, as keywords; where it ``has_hours``, also
    ``calendars``. ``open_socket`` connects where that is not by a WebSocket. Where it has more than a stream,
    ``rest_url`` is where that is by default; ``make_poll`` makes what is asked beside the stream, every so many
    seconds. ``make_history`` makes what tells of the past, from the ``rest_url`` if there is one, else from the
    ``url``; ``make_candles`` makes what tells of the venue's own candles, from there too.
    """

    name: str
    topic: str
    url: str
    capabilities: Capabilities
    make_feed: Callable[..., Feed]
    settings: tuple[str, ...] = ()
    has_hours: bool = False
    calendar_of: Callable[[Calendars, str], Calendar | None] = lambda calendars, symbol: None
    open_socket: Callable[[str], Coroutine[Any, Any, Socket]] | None = None
    rest_url: str = ""
    make_poll: Callable[[str, float], Poll] | None = None
    make_history: Callable[[str], History] | None = None
    make_candles: Callable[[str], CandleHistory] | None = None


SOURCES = {
    "yahoo": Source(
        "yahoo", "yfinance", YAHOO_URL, YahooFeed.capabilities, YahooFeed, has_hours=True, calendar_of=yahoo_calendar
    ),
    "sim": Source(
        "sim", "sim", SIM_URL, SimFeed.capabilities, SimFeed, open_socket=open_stream, make_history=SimHistory
    ),
    "finnhub": Source(
        "finnhub",
        "finnhub_market",
        FINNHUB_URL,
        FinnhubFeed.capabilities,
        FinnhubFeed,
        ("finnhub_api_token", "finnhub_symbols"),
        calendar_of=finnhub_calendar,
    ),
    "ssi": Source(
        "ssi",
        "vn-market",
        SSI_URL,
        SsiFeed.capabilities,
        SsiFeed,
        ("ssi_api_url", "ssi_consumer_id", "ssi_consumer_secret"),
        has_hours=True,
        calendar_of=ssi_calendar,
    ),
    "binance": Source(
        "binance",
        "crypto-prices",
        BINANCE_URL,
        BinanceFeed.capabilities,
        BinanceFeed,
        rest_url=BINANCE_REST_URL,
        make_poll=BinanceTicker,
        make_history=BinanceHistory,
        make_candles=BinanceHistory,
    ),
}


def source_of(symbol: str) -> Source:
    """The source that a symbol belongs to: Yahoo's stand as they are, all others begin with ``NAME:``.

    Raises `InvalidInput` if there is no such source, and `InvalidSymbol`.
    """
    prefix, colon, _ = check_symbol(symbol).partition(":")
    source = SOURCES.get(prefix.lower() if colon else "yahoo")
    if source is not None and colon and prefix != prefix.upper():
        raise InvalidInput(f"no source for {symbol}: it is written {symbol.replace(prefix, prefix.upper(), 1)}")
    if source is None or (colon and source.name == "yahoo"):
        raise InvalidInput(f"no source for {symbol}: there is none called {prefix} (there are: {', '.join(SOURCES)})")
    return source


def calendar_of(calendars: Calendars, symbol: str) -> Calendar | None:
    """The calendar that a symbol is traded by as far as its name tells; None also for one of no source."""
    try:
        return source_of(symbol).calendar_of(calendars, symbol)
    except InvalidInput:
        return None
