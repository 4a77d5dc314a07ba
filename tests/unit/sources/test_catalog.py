from __future__ import annotations

import pytest

from stockstream.errors import InvalidInput, InvalidSymbol
from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES, source_of


@pytest.mark.parametrize("symbol", ["AAPL", "VCB.VN", "BTC-USD", "^GSPC", "ES=F", "EURUSD=X"])
def test_yahoos_symbols_stand_as_they_are(symbol: str) -> None:
    assert source_of(symbol) is SOURCES["yahoo"]


@pytest.mark.parametrize(
    ("symbol", "source"),
    [("FINNHUB:AAPL", "finnhub"), ("FINNHUB:BINANCE:BTCUSDT", "finnhub"), ("SSI:VCB", "ssi"), ("VCB.VN", "yahoo")],
)
def test_other_symbols_begin_with_their_source(symbol: str, source: str) -> None:
    assert source_of(symbol) is SOURCES[source]


def test_a_prefix_in_small_letters_is_told_how_to_be_written() -> None:
    with pytest.raises(InvalidInput, match="it is written FINNHUB:aapl"):
        source_of("finnhub:aapl")


@pytest.mark.parametrize("symbol", ["NOWHERE:AAPL", "YAHOO:AAPL", ":A"])
def test_a_prefix_names_the_source(symbol: str) -> None:
    with pytest.raises(InvalidInput, match="no source"):
        source_of(symbol)


def test_a_symbol_must_be_one() -> None:
    with pytest.raises(InvalidSymbol):
        source_of("two words")


def test_every_source_is_complete() -> None:
    for name, source in SOURCES.items():
        feed = source.make_feed(source.url)
        assert (feed.name, feed.url, feed.capabilities) == (name, source.url, source.capabilities)
    assert len({source.topic for source in SOURCES.values()}) == len(SOURCES)


def test_settings_that_sources_take_exist() -> None:
    for source in SOURCES.values():
        source.make_feed(source.url, **Settings().chosen(source.settings))
        assert Settings().source_url(source.name) is None
