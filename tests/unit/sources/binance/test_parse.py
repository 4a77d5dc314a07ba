from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.parse import first_trade_id, past_trade, ticker_quote, venue_candle
from stockstream.sources.contract import Notice, VenueCandle

PAYLOADS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "data" / "binance" / "payloads.json").read_text(encoding="utf-8")
)
RECEIVED_MS = 1_672_515_782_200
STREAMED = [each for each in PAYLOADS.values() if isinstance(each, dict) and "stream" in each]
TRADE = Tick(
    "BINANCE:BNBBTC",
    1_672_515_782_136,
    0.001,
    100.0,
    trade_id=12345,
    producer_timestamp=RECEIVED_MS,
    timestamp="1672515782136",
    exchange="BINANCE",
    quote_type=41,
    source="binance",
)


def compact(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()


@pytest.mark.parametrize("name", ["trade", "trade_with_orders"])
def test_a_trade_is_read_however_it_is_written(name: str) -> None:
    payload = PAYLOADS[name]
    turned = {**payload, "data": dict(reversed(payload["data"].items()))}
    raw = payload["data"]
    for frame in (compact(payload), json.dumps(payload), compact(turned), compact(raw)):
        assert BinanceFeed().parse(frame, RECEIVED_MS) == [TRADE]


@given(
    st.integers(0, 10**18 - 1),
    st.decimals(0, 10**9, places=8),
    st.decimals(0, 10**9, places=8),
    st.integers(0, 10**18 - 1),
)
def test_the_fast_and_the_slow_way_agree(trade_id: int, price: Any, size: Any, time_ms: int) -> None:
    data = {**PAYLOADS["trade"]["data"], "t": trade_id, "p": f"{price:f}", "q": f"{size:f}", "T": time_ms}
    payload = {"stream": "bnbbtc@trade", "data": data}
    fast = BinanceFeed().parse(compact(payload), RECEIVED_MS)
    assert fast == BinanceFeed().parse(json.dumps(payload), RECEIVED_MS)
    assert (fast[0].price, fast[0].last_size, fast[0].trade_id) == (float(price), float(size), trade_id)


@pytest.mark.parametrize("name", ["agg_trade", "mini_ticker"])
def test_other_events_are_no_ticks(name: str) -> None:
    assert BinanceFeed().parse(compact(PAYLOADS[name]), RECEIVED_MS) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("p", each) for each in ("", "abc", "NaN", "Infinity", "1e999", 1.5, None, ["1"])],
        *[("q", each) for each in ("-inf", "nan", 7)],
        *[("t", each) for each in ("12", 1.5, True, None, 1 << 63)],
        *[("T", each) for each in ("12", 1.5, -(1 << 64))],
        *[("s", each) for each in ("", "two words", 5, None, "A" * 60)],
    ],
)
def test_a_trade_with_a_wrong_field_is_a_bad_message(field: str, value: object) -> None:
    payload = {"stream": "bnbbtc@trade", "data": {**PAYLOADS["trade"]["data"], field: value}}
    with pytest.raises(BadMessage, match="no trade"):
        BinanceFeed().parse(compact(payload), RECEIVED_MS)


def told(feed: BinanceFeed, frame: bytes) -> None:
    """Parse; nothing but ticks and `BadMessage` may come of it."""
    try:
        ticks = feed.parse(frame, RECEIVED_MS)
    except BadMessage:
        return
    assert all(isinstance(tick, Tick) for tick in ticks)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    told(BinanceFeed(), frame)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = PLAIN | st.lists(PLAIN, max_size=2) | st.just({"a": {"b": []}})
NAMES = st.sampled_from(["e", "s", "t", "p", "q", "T", "data", "stream", "id", "result", "error", "code", "msg"])


@given(st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON)))
def test_no_json_raises_anything_else(payload: dict[str, Any]) -> None:
    feed = BinanceFeed()
    feed.subscribe(["BINANCE:BTCUSDT"], 0)
    told(feed, json.dumps(payload).encode())


@given(st.sampled_from(STREAMED), st.integers(0, 10**6), st.binary(min_size=1, max_size=3), st.booleans())
def test_no_damage_raises_anything_else(payload: dict[str, Any], at: int, damage: bytes, is_cut: bool) -> None:
    frame = compact(payload)
    at %= len(frame)
    told(BinanceFeed(), frame[:at] + damage + (b"" if is_cut else frame[at + len(damage) :]))


@given(st.sampled_from(STREAMED), NAMES, JSON)
def test_no_exchanged_value_raises_anything_else(payload: dict[str, Any], name: str, value: Any) -> None:
    told(BinanceFeed(), json.dumps({**payload, "data": {**payload["data"], name: value}}).encode())


@given(st.dictionaries(st.sampled_from(sorted(PAYLOADS["ticker_24hr"])), JSON))
def test_rows_of_the_ticker_raise_nothing_else(changed: dict[str, Any]) -> None:
    try:
        quote = ticker_quote({**PAYLOADS["ticker_24hr"], **changed}, RECEIVED_MS)
    except BadMessage:
        return
    assert quote.kind == "quote"


@given(st.dictionaries(st.sampled_from(["id", "price", "qty", "time"]), JSON))
def test_rows_of_past_trades_raise_nothing_else(changed: dict[str, Any]) -> None:
    try:
        trade = past_trade("BINANCE:BNBBTC", {**PAYLOADS["historical_trades"][0], **changed})
    except BadMessage:
        return
    assert trade.kind == "trade"


@given(JSON)
def test_rows_of_aggregates_raise_nothing_else(row: Any) -> None:
    with suppress(BadMessage):
        assert isinstance(first_trade_id(row), int)


@given(st.dictionaries(st.integers(0, 11), JSON), st.integers(0, 12))
def test_rows_of_klines_raise_nothing_else(changed: dict[int, Any], length: int) -> None:
    row = [changed.get(at, value) for at, value in enumerate(PAYLOADS["klines"][0])]
    kline_told(row[:length] if len(changed) % 2 else row)


@given(JSON | st.dictionaries(st.text(max_size=3), PLAIN) | st.lists(JSON, max_size=12))
def test_no_json_in_place_of_a_kline_raises_anything_else(row: Any) -> None:
    kline_told(row)


def kline_told(row: Any) -> None:
    try:
        candle = venue_candle("1m", row)
    except BadMessage:
        return
    assert all(type(price) is float for price in (candle.open, candle.high, candle.low, candle.close, candle.volume))
    assert type(candle.window_start) is type(candle.trades) is int


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *[(at, each) for at in (1, 2, 3, 4, 5) for each in ("", "abc", "NaN", "Infinity", "1e999", 1.5, None, ["1"])],
        *[(at, each) for at in (0, 8) for each in ("12", 1.5, True, None, 1 << 63)],
    ],
)
def test_a_kline_with_a_wrong_field_is_a_bad_message(at: int, value: object) -> None:
    row = list(PAYLOADS["klines"][0])
    row[at] = value
    with pytest.raises(BadMessage, match="no kline"):
        venue_candle("1m", row)


def test_a_kline_is_the_candle_of_its_window() -> None:
    assert venue_candle("1w", PAYLOADS["klines"][0]) == VenueCandle(
        "1w", 1499040000000, 0.0163479, 0.8, 0.015758, 0.015771, 148976.11427815, 308
    )


def test_the_24h_ticker_is_a_quote_with_its_figures() -> None:
    quote = ticker_quote(PAYLOADS["ticker_24hr"], RECEIVED_MS)
    assert (quote.symbol, quote.kind, quote.event_time, quote.price) == (
        "BINANCE:BNBBTC",
        "quote",
        1499869899040,
        4.000002,
    )
    figures = (quote.open_24h, quote.high_24h, quote.low_24h, quote.volume_24h, quote.quote_volume_24h)
    assert figures == (99.0, 100.0, 0.1, 8913.3, 15.3)
    assert (quote.trades_24h, quote.price_change_24h, quote.change_percent) == (76, -94.999998, -95.96)
    assert (quote.bid, quote.ask, quote.day_volume, quote.trade_id) == (4.0, 4.000002, -1, -1)


def test_a_past_trade_was_received_when_it_happened() -> None:
    trade = past_trade("BINANCE:BNBBTC", PAYLOADS["historical_trades"][0])
    assert (trade.trade_id, trade.price, trade.last_size, trade.kind) == (28457, 4.000001, 12.0, "trade")
    assert trade.event_time == trade.producer_timestamp == 1499865549590


def test_notices_are_bad_messages_so_that_nothing_else_escapes() -> None:
    assert issubclass(Notice, BadMessage)
