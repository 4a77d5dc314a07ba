"""Binance's REST interface, and the weights of what is asked there."""

from __future__ import annotations

from stockstream.sources.rest import RestClient

URL = "https://api.binance.com"

PAST_TRADES, AGGREGATES, KLINES = 25, 4, 2
UNKNOWN_SYMBOL = -1121

_WEIGHT_PER_MINUTE = 6000


def client(url: str = URL) -> RestClient:
    """A client within Binance's limits, which count by address."""
    return RestClient(
        url, "Binance", weight_per_minute=_WEIGHT_PER_MINUTE, used_header="X-MBX-USED-WEIGHT-1M", timeout_s=10.0
    )


def ticker_weight(symbols: int) -> int:
    """What the 24 h ticker of so many symbols weighs."""
    return 2 if symbols <= 20 else 40 if symbols <= 100 else 80
