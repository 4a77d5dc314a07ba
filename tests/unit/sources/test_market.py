from __future__ import annotations

from collections import Counter
from itertools import pairwise

from stockstream.sources.market import DAY_MS, POST, PRE, REGULAR
from stockstream.sources.yahoo.fake import Market, MarketClock, Trade, instruments

MONDAY_MS = 1_763_337_600_000
HOUR_MS = 3_600_000


def trades(start_ms: int, hours: float, **options: float | int) -> list[Trade]:
    return list(Market(instruments(), start_ms, **options).until(start_ms + int(hours * HOUR_MS)))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_trades_however_they_are_asked_for() -> None:
    whole = trades(MONDAY_MS + 14 * HOUR_MS, 0.05)
    market = Market(instruments(), MONDAY_MS + 14 * HOUR_MS)
    parts = [trade for step in range(1, 181) for trade in market.until(MONDAY_MS + 14 * HOUR_MS + step * 1000)]
    assert parts == whole
    assert trades(MONDAY_MS + 14 * HOUR_MS, 0.05, seed=2) != whole


def test_every_kind_of_name_is_traded_in_its_hours() -> None:
    listed = {each.symbol: each for each in instruments()}
    assert len(listed) == 300
    seen = trades(MONDAY_MS, 24, trades_per_s=3.0)
    kinds = Counter((listed[trade.symbol].exchange, trade.hours) for trade in seen)
    assert {("NYQ", PRE), ("NYQ", REGULAR), ("NYQ", POST), ("VSE", REGULAR), ("CCC", REGULAR), ("CME", REGULAR)} <= set(
        kinds
    )
    assert kinds["NYQ", REGULAR] > 3 * kinds["NYQ", PRE]
    for trade in seen:
        if listed[trade.symbol].exchange == "VSE":
            assert 2 <= trade.time_ms % DAY_MS / HOUR_MS < 7.5
    weekend = trades(MONDAY_MS + 5 * DAY_MS + 15 * HOUR_MS, 1)
    assert {listed[trade.symbol].exchange for trade in weekend} == {"CCC", "CME"}


def test_volume_accumulates_over_the_day_and_begins_anew_with_the_next() -> None:
    seen = [trade for trade in trades(MONDAY_MS + 20 * HOUR_MS, 14, trades_per_s=3.0) if trade.symbol == "MSFT"]
    assert {trade.time_ms // DAY_MS for trade in seen} == {MONDAY_MS // DAY_MS, MONDAY_MS // DAY_MS + 1}
    for before, after in pairwise(seen):
        begun = before.volume if before.time_ms // DAY_MS == after.time_ms // DAY_MS else 0
        assert after.volume == begun + after.size
        assert after.time_ms >= before.time_ms


def test_there_are_quiet_names_and_bursts() -> None:
    seen = trades(MONDAY_MS + 14 * HOUR_MS, 0.5)
    counts = Counter(trade.symbol for trade in seen)
    assert sum(counts[each.symbol] < 60 for each in instruments()) > 30
    assert counts.most_common(1)[0][1] > 1000
    gaps_ms = sorted(b.time_ms - a.time_ms for a, b in pairwise(trade for trade in seen if trade.symbol == "BTC-USD"))
    assert gaps_ms[len(gaps_ms) // 20] * 10 < gaps_ms[len(gaps_ms) // 2]


def test_a_market_that_never_closes_is_traded_on_a_sunday() -> None:
    market = Market(instruments(20, always_open=True), MONDAY_MS + 6 * DAY_MS)
    assert "AAPL" in {trade.symbol for trade in market.until(MONDAY_MS + 6 * DAY_MS + 60_000)}


def test_a_clock_runs_as_fast_as_it_is_told() -> None:
    now_s = 10.0
    clock = MarketClock(1000, 60.0, lambda: now_s)
    assert clock() == 1000
    now_s = 11.5
    assert clock() == 91_000


def test_after_days_prices_and_volumes_are_still_those_of_a_market() -> None:
    market = Market(instruments(100, always_open=True), MONDAY_MS, trades_per_s=1.0)
    count = 0
    for trade in market.until(MONDAY_MS + 3 * DAY_MS):
        each = market.instruments[trade.symbol]
        assert 0.5 < trade.price / each.usual_price < 2, trade
        if each.is_rolling:
            assert 0.3 < trade.volume / each.usual_volume < 1.7, trade
        elif each.has_volume:
            assert trade.volume >= trade.size
        count += 1
    assert count > 200_000
    assert {each.volume for each in market.instruments.values() if not each.has_volume} == {0}
    assert len(market._due) == 100
