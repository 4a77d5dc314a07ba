from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.calendars import calendars_in
from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.sources.yahoo.pricing import PricingData

NOW_MS = 1_700_000_000_500


def frame(symbol: str, time_ms: int) -> str:
    pricing = PricingData(id=symbol, price=1.5, time=time_ms)
    return json.dumps({"message": base64.b64encode(pricing.SerializeToString()).decode()})


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_commands_are_those_of_yahoo() -> None:
    feed = YahooFeed()
    assert [json.loads(text) for text in feed.subscribe(["AAPL", "BTC-USD"], NOW_MS)] == [
        {"subscribe": ["AAPL", "BTC-USD"]}
    ]
    assert [json.loads(text) for text in feed.unsubscribe(["AAPL"])] == [{"unsubscribe": ["AAPL"]}]


def test_the_last_known_price_after_a_subscription_is_a_quote() -> None:
    feed = YahooFeed()
    feed.subscribe(["A", "B"], NOW_MS)
    assert feed.parse(frame("A", NOW_MS - 3 * 86_400_000), NOW_MS)[0].kind == "quote"
    assert feed.parse(frame("A", NOW_MS - 1000), NOW_MS)[0].kind == "snapshot"
    assert feed.parse(frame("B", NOW_MS + 1000), NOW_MS)[0].kind == "snapshot"
    assert feed.parse(frame("B", NOW_MS - 1000), NOW_MS)[0].kind == "snapshot"
    feed.subscribe(["A"], NOW_MS + 60_000)
    assert feed.parse(frame("A", NOW_MS + 59_000), NOW_MS)[0].kind == "quote"
    assert feed.parse("{}", NOW_MS) == []


@pytest.mark.parametrize(
    ("symbol", "time", "is_open"),
    [
        ("BTC-USD", "2026-11-22T03:00", True),
        ("AAPL", "2026-11-20T15:00", True),
        ("BRK-B", "2026-11-20T15:00", True),
        ("AAPL", "2026-11-20T14:00", False),
        ("AAPL", "2026-11-22T15:00", False),
        ("AAPL", "2026-11-26T15:00", False),  # Thanksgiving
        ("AAPL", "2026-11-27T17:59", True),
        ("AAPL", "2026-11-27T18:00", False),  # a half day
        ("AAPL", "2026-07-01T13:30", True),  # summer in New York
        ("AAPL", "2026-11-20T13:30", False),
        ("7203.T", "2026-11-20T02:29", True),
        ("7203.T", "2026-11-20T02:30", False),
        ("0700.HK", "2026-12-24T05:30", False),
        ("BHP.AX", "2026-11-19T23:30", True),
        ("SAP.DE", "2026-11-20T16:35", False),  # the closing auction
        ("VCB.VN", "2026-11-20T02:10", False),  # the opening auction
        ("VCB.VN", "2026-02-17T03:00", False),  # Tet
        ("VCB.VN", "2026-11-20T02:30", True),
        ("VCB.VN", "2026-11-20T05:00", False),
        ("VCB.VN", "2026-11-20T15:00", False),
        ("EURUSD=X", "2026-11-20T03:00", True),
        ("EURUSD=X", "2026-11-20T22:30", False),
        ("EURUSD=X", "2026-11-22T22:30", True),
        ("ES=F", "2026-11-21T03:00", False),
        ("ES=F", "2026-11-22T23:30", True),
        ("ES=F", "2026-11-20T22:30", False),  # the daily pause
        ("^GSPC", "2026-11-20T15:00", False),
        ("XYZ.ZZ", "2026-11-20T15:00", False),
    ],
)
def test_silence_means_something_only_while_a_symbol_is_surely_traded(symbol: str, time: str, is_open: bool) -> None:
    feed = YahooFeed()
    feed.subscribe([symbol], NOW_MS)
    assert feed.is_open(at(time)) is is_open
    feed.unsubscribe([symbol])
    assert not feed.is_open(at(time))


def test_one_open_market_is_enough() -> None:
    feed = YahooFeed()
    feed.subscribe(["VCB.VN", "AAPL"], NOW_MS)
    assert feed.is_open(at("2026-11-20T15:00"))


def test_a_users_holiday_is_no_silence(tmp_path: Path) -> None:
    (tmp_path / "XNYS.toml").write_text('[holidays]\n2026-11-20 = "closed after a storm"\n')
    feed = YahooFeed(calendars=calendars_in(tmp_path))
    feed.subscribe(["AAPL"], NOW_MS)
    assert not feed.is_open(at("2026-11-20T15:00"))
    assert feed.is_open(at("2026-11-19T15:00"))


@pytest.mark.parametrize(("status", "is_fatal"), [(403, True), (404, True), (429, False), (500, False), (503, False)])
def test_a_refusal_that_is_not_about_load_is_fatal(status: int, is_fatal: bool) -> None:
    reason = YahooFeed().fatal(InvalidStatus(Response(status, "", Headers())))
    assert (reason is not None) is is_fatal
    assert reason is None or str(status) in reason
    assert YahooFeed().fatal(OSError()) is None
