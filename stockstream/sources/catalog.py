"""Every source: its topic, how its feed is made, and which symbols are its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stockstream.errors import InvalidInput
from stockstream.models import check_symbol
from stockstream.sources.contract import Capabilities, Feed, History
from stockstream.sources.yahoo.feed import URL as YAHOO_URL
from stockstream.sources.yahoo.feed import YahooFeed


@dataclass(frozen=True, slots=True)
class Source:
    """A venue: ``topic`` without prefix, ``url`` by default, and ``make_feed`` for one connection to a URL.

    ``make_history`` asks at ``rest_url`` for its past trades, None where it tells none.
    """

    name: str
    topic: str
    url: str
    capabilities: Capabilities
    make_feed: Callable[[str], Feed]
    rest_url: str = ""
    make_history: Callable[[str], History] | None = None


SOURCES = {
    "yahoo": Source("yahoo", "yfinance", YAHOO_URL, YahooFeed.capabilities, YahooFeed),
}


def source_of(symbol: str) -> Source:
    """The source that a symbol belongs to: Yahoo's stand as they are, all others begin with ``NAME:``.

    Raises `InvalidInput` if there is no such source, and `InvalidSymbol`.
    """
    prefix, colon, _ = check_symbol(symbol).partition(":")
    source = SOURCES.get(prefix.lower() if colon else "yahoo")
    if source is None or (colon and source.name == "yahoo"):
        raise InvalidInput(f"no source for {symbol}: there is none called {prefix} (there are: {', '.join(SOURCES)})")
    return source
