"""The fake's REST answers, from its tape."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from stockstream.sources.binance.fake.klines import klines
from stockstream.sources.binance.fake.tape import FIRST_ID, Tape, Trade

_DAY_MS = 86_400_000
_PAGE, _MOST = 500, 1000
Answer = tuple[int, Any]

UNKNOWN_SYMBOL = 400, {"code": -1121, "msg": "Invalid symbol."}
NO_PATH = 404, {"code": -1000, "msg": "Not found."}


def weight_of(path: str, query: Mapping[str, str]) -> int:
    """What a request weighs, by the documentation."""
    if path != "ticker/24hr":
        return {"historicalTrades": 25, "aggTrades": 4, "exchangeInfo": 20, "klines": 2}.get(path, 1)
    if "symbol" in query:
        return 2
    count = len(json.loads(query["symbols"])) if "symbols" in query else _MOST
    return 2 if count <= 20 else 40 if count <= 100 else 80


class MarketData:
    """Answers as documented; ``now_ms`` is the market's time."""

    def __init__(self, tape: Tape, now_ms: Callable[[], int]) -> None:
        self._tape, self._now_ms = tape, now_ms

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Status and JSON of a path below ``/api/v3/``."""
        if path == "ticker/24hr":
            return self._tickers(query)
        if path == "time":
            return 200, {"serverTime": self._now_ms()}
        if path not in ("aggTrades", "historicalTrades", "klines"):
            return NO_PATH
        trades = self._tape.trades.get(query.get("symbol", ""))
        if trades is None:
            return UNKNOWN_SYMBOL
        limit = min(int(query.get("limit", _PAGE)), _MOST)
        if path == "historicalTrades":
            first = max(0, int(query["fromId"]) - FIRST_ID) if "fromId" in query else max(0, len(trades) - limit)
            return 200, [_past(trade) for trade in trades[first : first + limit]]
        if path == "klines":
            return klines(trades, query, limit, self._now_ms())
        return 200, _aggregates(trades, query)[:limit]

    def _tickers(self, query: Mapping[str, str]) -> Answer:
        names = [query["symbol"]] if "symbol" in query else json.loads(query.get("symbols", "null"))
        if any(name not in self._tape.trades for name in names or ()):
            return UNKNOWN_SYMBOL
        rows = [self._ticker(name) for name in names or self._tape.symbols]
        return 200, rows[0] if "symbol" in query else rows

    def _ticker(self, name: str) -> dict[str, Any]:
        now_ms, trades = self._now_ms(), self._tape.trades[name]
        day = trades[bisect_left(trades, now_ms - _DAY_MS, key=lambda trade: trade.time_ms) :]
        prices = [float(trade.price) for trade in day] or [0.0]
        volume = sum(float(trade.quantity) for trade in day)
        quoted = sum(float(trade.quantity) * float(trade.price) for trade in day)
        change = prices[-1] - prices[0]
        return {
            "symbol": name,
            "priceChange": f"{change:.8f}",
            "priceChangePercent": f"{100 * change / prices[0] if prices[0] else 0:.3f}",
            "weightedAvgPrice": f"{quoted / volume if volume else 0:.8f}",
            "prevClosePrice": f"{prices[0]:.8f}",
            "lastPrice": f"{prices[-1]:.8f}",
            "lastQty": day[-1].quantity if day else "0.00000000",
            "bidPrice": f"{prices[-1] * 0.999:.8f}",
            "bidQty": "1.00000000",
            "askPrice": f"{prices[-1] * 1.001:.8f}",
            "askQty": "2.00000000",
            "openPrice": f"{prices[0]:.8f}",
            "highPrice": f"{max(prices):.8f}",
            "lowPrice": f"{min(prices):.8f}",
            "volume": f"{volume:.8f}",
            "quoteVolume": f"{quoted:.8f}",
            "openTime": now_ms - _DAY_MS,
            "closeTime": now_ms,
            "firstId": day[0].trade_id if day else -1,
            "lastId": day[-1].trade_id if day else -1,
            "count": len(day),
        }


def _past(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": f"{float(trade.price) * float(trade.quantity):.8f}",
        "time": trade.time_ms,
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def _aggregates(trades: list[Trade], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The trades of each taker's order as one; numbered by their orders, which have holes for a symbol."""
    start_ms, end_ms = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 62))
    first = bisect_left(trades, start_ms, key=lambda trade: trade.time_ms)
    rows: list[dict[str, Any]] = []
    for order, each in groupby(trades[first:], key=lambda trade: trade.order):
        fills = list(each)
        if fills[0].time_ms > end_ms or len(rows) == _MOST:
            break
        rows.append(
            {
                "a": order,
                "p": fills[0].price,
                "q": f"{sum(float(fill.quantity) for fill in fills):.8f}",
                "f": fills[0].trade_id,
                "l": fills[-1].trade_id,
                "T": fills[0].time_ms,
                "m": fills[0].is_buyer_maker,
                "M": True,
            }
        )
    return rows
