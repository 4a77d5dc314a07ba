from __future__ import annotations

from pathlib import Path

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


def test_the_guide_tells_of_every_source_what_it_is() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "adding-a-source.md").read_text(encoding="utf-8")
    for source in SOURCES.values():
        limits = source.capabilities
        lifetime = "unlimited" if limits.lifetime_s is None else f"{limits.lifetime_s / 3600:g} h"
        history = f"{limits.history_days:,} days" if limits.history_days else "none"
        cells = (
            f"`{source.name}`",
            f"`{source.topic}`",
            limits.kind,
            f"{limits.symbols_per_connection:,}",
            lifetime,
            "yes" if limits.has_trade_ids else "no",
            "yes" if limits.has_cumulative_volume else "no",
            history,
        )
        assert f"| {' | '.join(cells)} |" in guide


def test_what_is_renewed_has_trade_ids_and_what_has_a_past_says_how_much() -> None:
    for source in SOURCES.values():
        assert source.capabilities.lifetime_s is None or source.capabilities.has_trade_ids
        assert (source.make_history is None) == (source.capabilities.history_days == 0)
