"""``GET /latest`` and ``GET /latest/{symbol}``."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from aiohttp import web

from stockstream.models import Latest, check_symbol
from stockstream.web.live import LiveView
from stockstream.web.times import stamp


def latest_json(latest: Latest, now_ms: int) -> dict[str, Any]:
    """A latest price as it is answered; ``age_ms`` since its event, ``version`` as text like that of candles."""
    return {
        "symbol": latest.symbol,
        "price": latest.price,
        "change": _finite(latest.change) or 0.0,
        "change_percent": _finite(latest.change_percent) or 0.0,
        "session": latest.session,
        **stamp("event_time", latest.event_time),
        **stamp("received_time", latest.received_time),
        "age_ms": max(0, now_ms - latest.event_time),
        "bid": _finite(latest.bid),
        "ask": _finite(latest.ask),
        "day_volume": latest.day_volume if latest.day_volume >= 0 else None,
        "currency": latest.currency,
        "exchange": latest.exchange or None,
        "source": latest.source or None,
        "version": str(latest.version),
    }


def _finite(number: float | None) -> float | None:
    """A number as JSON can hold it: these decide no candle, so nobody has judged whether a venue's are finite."""
    return number if number is not None and isfinite(number) else None


class LatestPrices:
    """Answers from the live view; 503 while it has not caught up and so cannot tell an unknown symbol."""

    def __init__(self, live: LiveView, now_ms: Callable[[], int]) -> None:
        self._live = live
        self._now_ms = now_ms

    async def list_all(self, _request: web.Request) -> web.Response:
        """``{"latest": [...]}``, by symbol."""
        if not self._live.ready:
            raise still_reading()
        now_ms, latest = self._now_ms(), self._live.latest
        return web.json_response({"latest": [latest_json(latest[symbol], now_ms) for symbol in sorted(latest)]})

    async def get(self, request: web.Request) -> web.Response:
        """The latest price of one symbol."""
        symbol = check_symbol(request.match_info["symbol"])
        latest = self._live.latest.get(symbol)
        if latest is None:
            if not self._live.ready:
                raise still_reading()
            raise web.HTTPNotFound(text=f"no price of {symbol} is known")
        return web.json_response(latest_json(latest, self._now_ms()))


def still_reading() -> web.HTTPServiceUnavailable:
    """The answer while the live view cannot yet tell what it does not know."""
    return web.HTTPServiceUnavailable(
        text="this worker is still reading what the others published; try again in 2 s", headers={"Retry-After": "2"}
    )
