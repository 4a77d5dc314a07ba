from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from stockstream.models import Candle, Latest
from stockstream.web.recent import Recent


def ignore(_key: object, _state: object) -> None: ...


def versions_of_one_candle(count: int) -> list[Candle]:
    return [
        Candle("A", "1m", "regular", 0, 60_000, 1, 1, 1, float(version), None, None, None, False, version, 0, 60_000)
        for version in range(1, count + 1)
    ]


@given(st.permutations(versions_of_one_candle(5)))
def test_the_greatest_version_remains_in_whatever_order_states_come(states: list[Candle]) -> None:
    recent = Recent(60, ignore)
    for each in states:
        recent.put_candle(each)
    assert [each.version for each in recent.candles("A", "1m", "regular")] == [5]


@given(st.permutations([1, 2, 3]))
def test_the_latest_price_does_not_go_back(versions: list[int]) -> None:
    recent = Recent(60, ignore)
    for version in versions:
        recent.put_latest(Latest("A", float(version), 0, 0, "regular", 1, 1, 1, version))
    assert recent.latest["A"].price == 3.0


@given(st.lists(st.integers(-200, 0), min_size=1))
def test_only_what_ended_within_the_history_is_kept(windows: list[int]) -> None:
    recent = Recent(600, ignore)
    for window in windows:
        start = (window + 1000) * 60_000
        recent.put_candle(
            Candle("A", "1m", "regular", start, start + 60_000, 1, 1, 1, 1, None, None, None, True, 1, 0, 0)
        )
    newest = max(windows)
    kept = [each.window_start // 60_000 - 1000 for each in recent.candles("A", "1m", "regular")]
    assert kept == sorted({window for window in windows if window >= newest - 11})


def test_a_day_keeps_yesterday_and_the_newest_stays_without_history(make_candle: Callable[..., Candle]) -> None:
    recent = Recent(0, ignore)
    for window in (-2, -1, 0):
        recent.put_candle(make_candle(window, interval="1d"))
    assert [each.key for each in recent.candles("BTC-USD", "1d", "regular")] == [
        make_candle(-1, interval="1d").key,
        make_candle(0, interval="1d").key,
    ]


def test_series_are_apart(make_candle: Callable[..., Candle]) -> None:
    recent = Recent(7200, ignore)
    recent.put_candle(make_candle(0))
    recent.put_candle(make_candle(0, session="extended"))
    recent.put_candle(make_candle(0, interval="5m"))
    recent.put_candle(make_candle(-500, symbol="ETH-USD"))
    assert len(recent.candles("BTC-USD", "1m", "regular")) == 1
    assert len(recent.candles("BTC-USD", "1m", "extended")) == 1
    assert len(recent.candles("ETH-USD", "1m", "regular")) == 1
    assert recent.candles("ETH-USD", "5m", "regular") == []
    assert recent.candles("none", "1m", "regular") == []


def test_symbols_are_those_with_a_price_or_a_candle(
    make_candle: Callable[..., Candle], make_latest: Callable[..., Latest]
) -> None:
    recent = Recent(7200, ignore)
    recent.put_candle(make_candle(symbol="A"))
    recent.put_latest(make_latest("B"))
    assert recent.symbols == {"A", "B"}
    recent.drop_latest("B")
    recent.drop_latest("never seen")
    assert recent.symbols == {"A"}


def test_what_is_taken_in_is_published_and_nothing_else(
    make_candle: Callable[..., Candle], make_latest: Callable[..., Latest]
) -> None:
    published: list[tuple[object, object]] = []
    recent = Recent(7200, lambda key, state: published.append((key, state)))
    candle, price = make_candle(version=2), make_latest(version=2)
    recent.put_candle(candle)
    recent.put_candle(make_candle(version=1))
    recent.put_candle(make_candle(version=2))
    recent.put_latest(price)
    recent.put_latest(make_latest(version=1))
    recent.drop_latest("BTC-USD")
    recent.drop_latest("BTC-USD")
    assert published == [
        (("candle", *candle.key), candle),
        (("latest", "BTC-USD"), price),
        (("latest", "BTC-USD"), None),
    ]


def test_an_amendment_of_a_candle_no_longer_kept_is_published(make_candle: Callable[..., Candle]) -> None:
    published: list[object] = []
    recent = Recent(60, lambda _key, state: published.append(state))
    recent.put_candle(make_candle(0))
    recent.put_candle(make_candle(-100, version=7))
    assert [each.window_start for each in recent.candles("BTC-USD", "1m", "regular")] == [make_candle(0).window_start]
    assert published == [make_candle(0), make_candle(-100, version=7)]
