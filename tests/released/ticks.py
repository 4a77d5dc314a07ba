"""The ticks of which every release's data are made: few, fixed, and of every kind that leaves something in a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from stockstream.codecs import Encoder
from stockstream.models import Tick

COINS, SHARES = "crypto-prices", "yfinance"
TOPICS = (SHARES, COINS)
BTC, SOL = "BINANCE:BTCUSDT", "BINANCE:SOLUSDT"
AAPL, MSFT, NFLX = "AAPL", "MSFT", "NFLX"
SYMBOLS = (BTC, SOL, AAPL, MSFT, NFLX)

_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
OPEN_MS = int(datetime(2026, 11, 24, 14, 30, tzinfo=UTC).timestamp() * 1000)  # New York's
_JSON = ("symbol", "price", "event_time", "day_volume", "exchange", "producer_timestamp")
_MISSED = (BTC, 2, (10, 20, 30))  # seconds of a minute whose trades come late

Sent = tuple[str, Tick]
"""A tick, and the topic that it goes into."""


def trade(symbol: str, minute: int, second: float, price: float, size: float, trade_id: int = -1) -> Tick:
    at_ms = OPEN_MS + minute * _MINUTE_MS + int(second * 1000)
    return Tick(
        symbol, at_ms, price, size, trade_id=trade_id, producer_timestamp=at_ms + 40, exchange="binance",
        source="binance",
    )  # fmt: skip


def control(symbol: str, kind: str, minute: int, second: float, until_s: float = 0.0, cause: str | None = None) -> Tick:
    at_ms, until_ms = (OPEN_MS + minute * _MINUTE_MS + int(each * 1000) for each in (second, until_s))
    exchange, source = ("binance", "binance") if symbol in (BTC, SOL) else ("NMS", "yahoo")
    is_span = kind != "start"
    return Tick(
        symbol, at_ms, kind=kind, producer_timestamp=max(at_ms, until_ms) + 40, exchange=exchange,  # type: ignore[arg-type]
        source=source, until=until_ms if is_span else None, cause=cause,
    )  # fmt: skip


def snapshot(symbol: str, minute: int, second: float, price: float, day_volume: int, market_hours: int = 1) -> Tick:
    at_ms = OPEN_MS + minute * _MINUTE_MS + int(second * 1000)
    return Tick(
        symbol, at_ms, price, day_volume=day_volume, kind="snapshot", producer_timestamp=at_ms + 300, exchange="NMS",
        quote_type=8, market_hours=market_hours, source="yahoo", currency="USD",
    )  # fmt: skip


def received_at(tick: Tick, minute: int, second: float) -> Tick:
    """The same, but it came late."""
    return replace(tick, producer_timestamp=OPEN_MS + minute * _MINUTE_MS + int(second * 1000))


def coin(minute: int, second: int) -> Tick:
    """Bitcoin's trade of a moment: ids go up, volumes have eight decimals."""
    n = minute * 6 + second // 10
    return trade(BTC, minute, second, 91_000 + n % 7 * 12.5 - n % 3 * 20.01, 0.00012345 * (n + 1), 1000 + n)


def first() -> Iterator[Sent]:
    """Seven minutes, the last of which stays open: subscriptions, prices, disorder, duplicates and a hole."""
    for symbol in (BTC, SOL):
        yield COINS, control(symbol, "start", 0, -10)
    yield SHARES, control(AAPL, "start", 0, 20)  # inside of a minute, so that is partial
    yield SHARES, snapshot(AAPL, -1, 30, 271.5, 120_000, market_hours=0)
    for minute in range(7):
        for second in (0, 10, 30, 20, 40, 50):
            if (BTC, minute) == _MISSED[:2] and second in _MISSED[2]:
                continue
            yield COINS, coin(minute, second)
            if second == 30:
                yield COINS, coin(minute, 0)  # a duplicate
            yield COINS, trade(SOL, minute, second + 3, 3000.1 + minute - second / 100, 1.5)
        for second in (25, 45):
            volume = 200_000 + (minute * 60 + second) * 37
            yield SHARES, snapshot(AAPL, minute, second, round(271 + minute / 8 - second / 90, 2), volume)
            yield SHARES, snapshot(MSFT, minute, second, 475.25 + minute, volume * 2)
            yield SHARES, snapshot(NFLX, minute, second + 1, 90.5 + minute, volume // 2)
        if minute == 2:
            yield COINS, control(BTC, "gap", 2, 5, 35, cause="disconnected")
    yield SHARES, snapshot(AAPL, 6, 50, 271.01, 199_000)  # the vendor takes volume back


def second() -> Iterator[Sent]:
    """What comes late: into closed windows, too late, a repair with what was missing; and what is no tick."""
    yield COINS, received_at(trade(BTC, 1, 15, 91_500, 0.5, 1999), 7, 0)
    yield COINS, received_at(trade(SOL, -20, 0, 2900, 1), 7, 0)  # too late
    yield COINS, replace(trade(BTC, 7, 0, 91_000, 1, 2000), price=-1.0)
    symbol, minute, seconds = _MISSED
    for each in seconds:
        yield COINS, received_at(coin(minute, each), 7, 0.1)
    yield COINS, control(symbol, "repair", minute, 5, 35)
    yield SHARES, received_at(snapshot(AAPL, 2, 40, 270.5, 200_000 + 160 * 37), 7, 0.2)
    yield COINS, coin(7, 0)
    yield COINS, trade(SOL, 7, 1, 3008, 2)
    yield SHARES, snapshot(AAPL, 7, 1, 271.9, 216_000)


def away() -> Iterator[Sent]:
    """What is written while no worker runs: the open windows go on, with duplicates of what their rows have.

    Ticks close all windows that `later` comes back to, or else the pace of a machine would.
    """
    yield COINS, coin(7, 0)
    for minute in (7, 8, 10):
        for second in (10, 20, 30):
            yield COINS, coin(minute, second)
            yield COINS, trade(SOL, minute, second + 3, 3010 - second / 10, 0.25)
        yield SHARES, snapshot(AAPL, minute, 40, 272 + minute / 4, 216_000 + minute * 500)
        yield SHARES, snapshot(MSFT, minute, 40, 480 - minute, 440_000 + minute * 900)
    yield COINS, control(SOL, "gap", 7, 40, 55, cause="silence")


def later() -> Iterator[Sent]:
    """What comes to the worker that has taken over: late ones for what it has not made, and the next day."""
    yield COINS, received_at(trade(BTC, 4, 15, 90_000, 0.25, 2999), 11, 0)
    yield COINS, coin(4, 10)  # a duplicate in a row that was closed
    yield SHARES, received_at(snapshot(AAPL, 5, 50, 260.5, 200_000 + 349 * 37), 11, 0)
    yield COINS, received_at(trade(SOL, 7, 45, 3111, 3), 11, 1)
    yield COINS, control(SOL, "repair", 7, 40, 55)
    day = _DAY_MS // _MINUTE_MS
    for symbol in (BTC, SOL):
        yield COINS, trade(symbol, day + 1, 0, 5000, 1, 9999 if symbol == BTC else -1)
    for symbol in (AAPL, MSFT, NFLX):
        yield SHARES, snapshot(symbol, day + 1, 0, 300, 90_000)


class Records:
    """Ticks as records: version 2 of the schema, or of some symbols what older producers write."""

    def __init__(self, version_1: Encoder, version_2: Encoder) -> None:
        self._version_1, self._version_2 = version_1, version_2

    def of(self, tick: Tick) -> tuple[bytes, bytes]:
        """Key and value."""
        key = tick.symbol.encode()
        if tick.symbol == NFLX:
            return key, json.dumps({name: getattr(tick, name) for name in _JSON}).encode()
        return key, (self._version_1 if tick.symbol == MSFT else self._version_2)(tick)
