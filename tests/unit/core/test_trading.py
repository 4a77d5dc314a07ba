"""Which windows and which trading date a tick has, on the days that are not like others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from crashing import Host, in_batches

from stockstream.adapters import trading_of
from stockstream.core.offline import OfflineEngine
from stockstream.core.row import stamp
from stockstream.core.trading import Trading
from stockstream.models import Candle, Tick
from stockstream.settings import Settings

TRADING = trading_of(Settings())
DAY_MS = 86_400_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M}"


def candles_of(*ticks: Tick, trading: Trading = TRADING) -> dict[tuple[str, str], Candle]:
    """By interval and session; of each there must be one at most."""
    engine = OfflineEngine(trading=trading)
    engine.add(ticks)
    engine.finish()
    found = [candle for interval in ("1m", "5m", "1d") for candle, _ in engine.candles(interval)]
    by_kind = {(candle.interval, candle.session): candle for candle in found}
    assert len(by_kind) == len(found)
    return by_kind


@pytest.mark.parametrize(
    ("source", "exchange", "time", "session", "date", "bounds"),
    [
        # New York, around both switches of daylight saving time.
        ("yahoo", "NYQ", "2026-03-06T14:30", "regular", "2026-03-06", "2026-03-06T14:30 2026-03-06T21:00"),
        ("yahoo", "NYQ", "2026-03-09T13:30", "regular", "2026-03-09", "2026-03-09T13:30 2026-03-09T20:00"),
        ("yahoo", "NYQ", "2026-03-09T13:29:59.999", "extended", "2026-03-09", "2026-03-09T08:00 2026-03-10T00:00"),
        ("yahoo", "NMS", "2026-10-30T19:59", "regular", "2026-10-30", "2026-10-30T13:30 2026-10-30T20:00"),
        ("yahoo", "NMS", "2026-11-02T20:59", "regular", "2026-11-02", "2026-11-02T14:30 2026-11-02T21:00"),
        ("yahoo", "NMS", "2026-11-03T00:59", "extended", "2026-11-02", "2026-11-02T09:00 2026-11-03T01:00"),
        ("yahoo", "NMS", "2026-11-03T01:00", "extended", None, None),
        # Half a day, then its post-market, a holiday, a weekend.
        ("finnhub", "US", "2026-11-27T17:59:59.999", "regular", "2026-11-27", "2026-11-27T14:30 2026-11-27T18:00"),
        ("finnhub", "US", "2026-11-27T18:30", "extended", "2026-11-27", "2026-11-27T09:00 2026-11-27T22:00"),
        ("finnhub", "US", "2026-11-26T15:00", "extended", None, None),
        ("finnhub", "US", "2026-11-28T15:00", "extended", None, None),
        # Tokyo and Hong Kong: nothing of lunch is regular, and it parts no day.
        ("yahoo", "JPX", "2026-11-27T02:29", "regular", "2026-11-27", "2026-11-27T00:00 2026-11-27T06:30"),
        ("yahoo", "JPX", "2026-11-27T02:30", "extended", "2026-11-27", "2026-11-27T00:00 2026-11-27T06:31"),
        ("yahoo", "JPX", "2026-11-27T03:30", "regular", "2026-11-27", "2026-11-27T00:00 2026-11-27T06:30"),
        ("yahoo", "HKG", "2026-11-27T05:00", "regular", "2026-11-27", "2026-11-27T01:30 2026-11-27T08:00"),
        # Sydney begins before midnight UTC once its clocks have gone forward.
        ("yahoo", "ASX", "2026-10-02T00:00", "regular", "2026-10-02", "2026-10-02T00:00 2026-10-02T06:00"),
        ("yahoo", "ASX", "2026-10-04T23:00", "regular", "2026-10-05", "2026-10-04T23:00 2026-10-05T05:00"),
        # Futures begin on the evening before, and on a Sunday; their day ends with the break before the next one.
        ("yahoo", "CME", "2026-11-29T23:00", "regular", "2026-11-30", "2026-11-29T23:00 2026-11-30T23:00"),
        ("yahoo", "CME", "2026-11-30T23:00", "regular", "2026-12-01", "2026-11-30T23:00 2026-12-01T23:00"),
        ("yahoo", "CME", "2026-03-08T22:00", "regular", "2026-03-09", "2026-03-08T22:00 2026-03-09T22:00"),
        # Ho Chi Minh: auctions, lunch, put-through, Tết.
        ("ssi", "HOSE", "2026-11-27T02:00", "regular", "2026-11-27", "2026-11-27T02:00 2026-11-27T07:45"),
        ("ssi", "HOSE", "2026-11-27T07:45:03", "regular", "2026-11-27", "2026-11-27T02:00 2026-11-27T07:45"),
        ("ssi", "HOSE", "2026-11-27T04:30", "extended", "2026-11-27", "2026-11-27T02:00 2026-11-27T08:00"),
        ("ssi", "HOSE", "2026-11-27T07:50", "extended", "2026-11-27", "2026-11-27T02:00 2026-11-27T08:00"),
        ("ssi", "HOSE", "2026-02-17T03:00", "extended", None, None),
        ("ssi", "HOSE", "2026-02-23T03:00", "regular", "2026-02-23", "2026-02-23T02:00 2026-02-23T07:45"),
        # Around the clock, and where nothing is known.
        ("binance", "BINANCE", "2026-11-28T23:59:59.999", "regular", "2026-11-28", "2026-11-28T00:00 2026-11-29T00:00"),
        ("yahoo", "CCC", "2026-11-29T00:00", "regular", "2026-11-29", "2026-11-29T00:00 2026-11-30T00:00"),
        ("yahoo", "OSA", "2026-11-27T23:30", "regular", "2026-11-27", "2026-11-27T00:00 2026-11-28T00:00"),
        ("elsewhere", "", "2026-11-28T12:00", "regular", "2026-11-28", "2026-11-28T00:00 2026-11-29T00:00"),
    ],
)
def test_a_tick_is_in_the_windows_of_its_exchange(
    source: str, exchange: str, time: str, session: str, date: str | None, bounds: str | None
) -> None:
    at = ms(time)
    found = candles_of(Tick("X", at, 5.0, 1.0, source=source, exchange=exchange))
    expected = {("1m", session), ("5m", session)} | ({("1d", session)} if date else set())
    assert found.keys() == expected
    for interval, length_ms in (("1m", 60_000), ("5m", 300_000)):
        start = found[interval, session].window_start
        assert (start, found[interval, session].window_end) == (at - at % length_ms, at - at % length_ms + length_ms)
    if date is not None:
        day = found["1d", session]
        assert (day.window_start, day.window_end) == (ms(date), ms(date) + DAY_MS)
        assert f"{utc(day.session_open)} {utc(day.session_close)}" == bounds


@pytest.mark.parametrize(("market_hours", "session"), [(1, "regular"), (0, "extended"), (2, "extended")])
def test_in_the_minute_after_the_close_a_tick_may_say_that_it_is_no_last_print(market_hours: int, session: str) -> None:
    late = Tick("AAPL", ms("2026-11-02T21:00:05"), 5.0, 1.0, exchange="NMS", market_hours=market_hours)
    assert set(candles_of(late)) == {("1m", session), ("5m", session), ("1d", session)}
    later = Tick("AAPL", ms("2026-11-02T21:01"), 5.0, 1.0, exchange="NMS", market_hours=market_hours)
    assert ("1d", "extended") in candles_of(later)


def test_a_day_is_the_roll_up_of_its_session_and_of_its_last_prints() -> None:
    times = [
        "2026-11-02T12:00",
        "2026-11-02T14:30",
        "2026-11-02T20:59:59.999",
        "2026-11-02T21:00:02",
        "2026-11-02T22:00",
    ]
    ticks = [
        Tick("AAPL", ms(time), 10.0 + number, 1.0, exchange="NMS", trade_id=number) for number, time in enumerate(times)
    ]
    engine = OfflineEngine(trading=TRADING)
    engine.add(ticks)
    engine.finish()
    days = {candle.session: candle for candle, _ in engine.candles("1d")}
    assert (days["regular"].open, days["regular"].close, days["regular"].volume) == (11.0, 13.0, 3.0)
    assert (days["extended"].open, days["extended"].close, days["extended"].volume) == (10.0, 14.0, 2.0)


def snapshot(time: str, cumulative: int) -> Tick:
    return Tick("AAPL", ms(time), 5.0, day_volume=cumulative, kind="snapshot", exchange="NMS")


def volumes(*ticks: Tick) -> dict[tuple[str, str, str], float | None]:
    engine = OfflineEngine(trading=TRADING)
    engine.add(ticks)
    return {
        (interval, candle.session, utc(candle.window_start)[-5:]): candle.volume
        for interval in ("1m", "1d")
        for candle, _ in engine.candles(interval)
    }


def test_volume_after_the_close_counts_from_the_last_candle_before_it_and_a_late_tick_amends_it() -> None:
    ticks = [
        Tick("AAPL", ms("2026-11-02T08:00"), kind="start"),
        snapshot("2026-11-02T14:31", 100),
        snapshot("2026-11-02T20:58", 900),
        snapshot("2026-11-02T21:10", 950),
    ]
    assert volumes(*ticks) == {
        ("1m", "regular", "14:31"): 100.0,
        ("1m", "regular", "20:58"): 800.0,
        ("1m", "extended", "21:10"): 50.0,
        ("1d", "regular", "00:00"): 900.0,
        ("1d", "extended", "00:00"): 950.0,
    }
    amended = volumes(*ticks, snapshot("2026-11-02T20:59", 930))
    assert (amended["1m", "regular", "20:59"], amended["1m", "extended", "21:10"]) == (30.0, 20.0)


def test_a_subscription_at_night_is_before_the_open_of_the_next_date() -> None:
    night = Tick("AAPL", ms("2026-11-02T03:00"), kind="start")
    engine = OfflineEngine(trading=TRADING)
    engine.add([night, snapshot("2026-11-02T14:31", 100)])
    assert not any(candle.partial for interval in ("1m", "1d") for candle, _ in engine.candles(interval))


def test_a_subscription_in_the_session_leaves_its_date_partial_and_the_next_whole() -> None:
    engine = OfflineEngine(trading=TRADING)
    trades = [Tick("AAPL", ms(time), 5.0, 1.0, exchange="NMS") for time in ("2026-11-02T15:00:30", "2026-11-03T15:00")]
    engine.add([Tick("AAPL", ms("2026-11-02T15:00:10"), kind="start"), *trades])
    assert [candle.partial for candle, _ in engine.candles("1d")] == [True, False]


def test_symbols_without_a_tick_are_guessed_by_their_names() -> None:
    assert TRADING.guessed("AAPL") is TRADING.hours("yahoo/NMS") is TRADING.hours("finnhub/US")
    assert TRADING.guessed("FINNHUB:AAPL") is TRADING.guessed("AAPL")
    assert TRADING.guessed("VCB.VN") is TRADING.guessed("SSI:VCB") is TRADING.hours("ssi/HOSE")
    for symbol in ("BTC-USD", "BINANCE:BTCUSDT", "FINNHUB:BINANCE:BTCUSDT", "^GSPC", "SIM:A", "no source:x"):
        assert TRADING.guessed(symbol) is None


def test_no_end_of_venues_fills_the_memory() -> None:
    trading = Trading()
    for number in range(5000):
        assert trading.hours(f"x/{number}") is None
    assert len(trading._known) <= 1000


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_hole_over_the_night_reaches_into_a_day_that_begins_before_its_label(is_cut: bool) -> None:
    hole = Tick("ES=F", ms("2026-11-30T21:50"), kind="gap", until=ms("2026-11-30T23:30"))
    times = ("2026-11-30T15:00", "2026-11-30T23:40", "2026-12-02T15:00")
    trades = [Tick("ES=F", ms(time), 5.0, 1.0, exchange="CME") for time in times]
    days = days_of(TRADING, [[trades[0], hole], trades[1:]] if is_cut else [[trades[0], hole, *trades[1:]]])
    assert [candle.gap for candle in days] == [True, True, False]


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_subscription_of_a_name_that_tells_no_exchange_leaves_its_date_partial(is_cut: bool) -> None:
    sydney = TRADING.hours("yahoo/ASX")
    start = Tick("X", ms("2026-11-26T23:10"), kind="start")
    trades = [Tick("X", ms(time), 5.0, 1.0) for time in ("2026-11-27T00:05", "2026-11-30T01:00")]
    trading = Trading(lambda source, exchange: sydney)
    days = days_of(trading, [[start], trades] if is_cut else [[start, *trades]])
    assert [candle.partial for candle in days] == [True, False]


def days_of(trading: Trading, batches: list[list[Tick]]) -> list[Candle]:
    engine = OfflineEngine(trading=trading)
    for batch in batches:
        engine.add(batch)
    return [candle for candle, _ in engine.candles("1d")]


@pytest.mark.parametrize("columnar", [True, False])
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_symbol_of_venues_with_different_hours_counts_each_tick_by_its_own(columnar: bool, is_cut: bool) -> None:
    exchanges = ["ASX", "ASX", "", "ASX", ""]
    at = ms("2026-11-26T23:30")
    log = [
        (stamp(0, number), Tick("X", at + number, 5.0, 1.0, trade_id=number, exchange=exchange))
        for number, exchange in enumerate(exchanges)
    ]
    host = Host(trading=TRADING, columnar=columnar)
    for batch in in_batches(log, range(1, 5) if is_cut else ()):
        host.feed(batch)
    days = {utc(key[3]): candle.trades for key, candle in host.candles().items() if key[1] == "1d"}
    assert days == {"2026-11-27T00:00": 3, "2026-11-26T00:00": 2}
    assert {candle.trades for key, candle in host.candles().items() if key[1] != "1d"} == {5}
    one_by_one = days_of(TRADING, [[tick] for _, tick in log])
    assert {utc(candle.window_start): candle.trades for candle in one_by_one} == days


def test_a_day_closes_once_its_last_prints_have_come() -> None:
    host = Host(trading=TRADING)

    def is_closed_after(number: int, time: str, symbol: str) -> bool:
        tick = Tick(symbol, ms(f"2026-11-02T{time}"), 5.0, 1.0, trade_id=number, exchange="NMS")
        host.feed([(stamp(0, number), tick)])
        return host.candles()["AAPL", "1d", "regular", ms("2026-11-02")].is_closed

    assert not is_closed_after(0, "20:59", "AAPL")
    assert not is_closed_after(1, "21:00:59.999", "MSFT")
    assert is_closed_after(2, "21:01", "MSFT")


def test_a_late_last_print_is_told_with_the_candle_after_the_close_of_the_same_minute() -> None:
    host = Host(trading=TRADING)
    after = snapshot("2026-11-02T21:00:30", 950)
    after.market_hours = 2
    ticks = [snapshot("2026-11-02T20:58", 900), after, snapshot("2026-11-02T21:00:10", 930)]
    for number, tick in enumerate(ticks):
        host.feed([(stamp(0, number), tick)])
    told = {(candle.interval, candle.session): candle.volume for candle in host.steps[-1].sent}
    assert told["1m", "extended"] == told["5m", "extended"] == 20.0
