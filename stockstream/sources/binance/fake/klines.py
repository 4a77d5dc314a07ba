"""The fake's klines, each counted anew from the trades of its window."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from stockstream.sources.binance.fake.tape import Trade

_MINUTE_MS = 60_000
_MINUTES = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "12h": 720, "1d": 1440}

_MALFORMED = "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."
NO_INTERVAL = 400, {"code": -1102, "msg": _MALFORMED}
BAD_INTERVAL = 400, {"code": -1120, "msg": "Invalid interval."}


def klines(trades: Sequence[Trade], query: Mapping[str, str], limit: int, now_ms: int) -> tuple[int, Any]:
    """Status and JSON: the first ``limit`` klines from ``startTime`` on, without one the last; up to ``now_ms``.

    The first is that of the first trade. From there on each window has one, also when nothing was traded in it.
    """
    if not query.get("interval"):
        return NO_INTERVAL
    if query["interval"] not in _MINUTES:
        return BAD_INTERVAL
    if not trades:
        return 200, []
    length_ms = _MINUTES[query["interval"]] * _MINUTE_MS
    end_ms = min(int(query.get("endTime", now_ms)), now_ms)
    first_ms = trades[0].time_ms // length_ms * length_ms
    from_ms = max(first_ms, -(-int(query.get("startTime", 0)) // length_ms) * length_ms)
    starts = range(from_ms, end_ms + 1, length_ms)
    chosen = starts[:limit] if "startTime" in query else starts[-limit:]
    return 200, [_kline(trades, start_ms, start_ms + length_ms) for start_ms in chosen]


def _kline(trades: Sequence[Trade], start_ms: int, end_ms: int) -> list[Any]:
    first, last = (bisect_left(trades, at_ms, key=lambda trade: trade.time_ms) for at_ms in (start_ms, end_ms))
    within = trades[first:last]
    prices = [trade.price for trade in within] or [trades[first - 1].price]
    taken = [trade for trade in within if not trade.is_buyer_maker]
    return [
        start_ms,
        prices[0],
        max(prices, key=Decimal),
        min(prices, key=Decimal),
        prices[-1],
        _volume(within),
        end_ms - 1,
        _turnover(within),
        len(within),
        _volume(taken),
        _turnover(taken),
        "0",
    ]


def _volume(trades: Sequence[Trade]) -> str:
    return f"{sum((Decimal(trade.quantity) for trade in trades), Decimal(0)):.8f}"


def _turnover(trades: Sequence[Trade]) -> str:
    return f"{sum((Decimal(trade.price) * Decimal(trade.quantity) for trade in trades), Decimal(0)):.8f}"
