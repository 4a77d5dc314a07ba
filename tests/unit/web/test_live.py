"""What a worker's view makes of the states that the worker sent itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stockstream.models import Candle, Latest
from stockstream.push import Key
from stockstream.web import live as live_module
from stockstream.web.live import LiveView

CANDLES, LATEST = "candles", "latest"


def view() -> LiveView:
    def decode(value: bytes) -> Any:
        raise AssertionError("nothing is read")

    return LiveView(
        {}, candles_topic=CANDLES, latest_topic=LATEST, decode_candle=decode, decode_latest=decode,
        prepare=lambda values: asyncio.sleep(0), now_ms=lambda: 0,
    )  # fmt: skip


def candle(window: int, version: int) -> Candle:
    start = window * 60_000
    return Candle(
        "A", "1m", "regular", start, start + 60_000, 1.0, 1.0, 1.0, float(version), None, None, None, False, version,
        start, start + 60_000,
    )  # fmt: skip


def price(symbol: str, version: int) -> Latest:
    return Latest(symbol, float(version), 0.0, 0.0, "regular", 1, 1, 1, version)


sends = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=4), max_size=8)


@given(sends, st.integers(0, 6))
def test_the_greatest_version_of_all_that_was_sent_remains(sent: list[list[tuple[int, int]]], most: int) -> None:
    live = view()
    newest: dict[int, int] = {}
    live_module._MOST_UNSORTED, before = most, live_module._MOST_UNSORTED
    try:
        for states in sent:
            live.take_sent(0, 0, [candle(window, version) for window, version in states])
            live.take_sent_prices(0, 0, [price(str(window), version) for window, version in states])
            for window, version in states:
                newest[window] = max(version, newest.get(window, 0))
    finally:
        live_module._MOST_UNSORTED = before
    found = {each.window_start // 60_000: each.version for each in live.candles("A", "1m", "regular")}
    assert found == newest
    assert {symbol: each.version for symbol, each in live.latest.items()} == {
        str(window): version for window, version in newest.items()
    }
    assert live.symbols == ({"A"} if newest else set()) | set(map(str, newest))


async def test_a_live_client_is_told_at_once() -> None:
    live = view()
    everything: Callable[[Key], bool] = lambda key: True  # noqa: E731 - typed
    with live.hub.subscribe(everything) as subscription:
        await anext(subscription)
        live.take_sent(0, 0, [candle(0, 1), candle(0, 2)])
        live.take_sent_prices(0, 0, [price("A", 3)])
        async with asyncio.timeout(5):
            update = await anext(subscription)
    assert [event.value.version for event in update.events] == [2, 3]


async def test_a_client_that_comes_again_is_told_what_it_missed() -> None:
    live = view()
    with live.hub.subscribe(lambda key: True) as subscription:
        place = live.hub.event_id((await anext(subscription)).number)
    live.take_sent(0, 0, [candle(0, 1)])
    live.take_sent(0, 1, [candle(0, 2), candle(1, 3)])
    with live.hub.subscribe(lambda key: True, place) as subscription:
        update = await anext(subscription)
    assert (update.restart, [event.value.version for event in update.events]) == (False, [2, 3])


def test_a_price_that_is_dropped_does_not_come_back() -> None:
    live = view()
    live.take_sent_prices(0, 0, [price("A", 1), price("B", 1)])
    live._keep(SimpleNamespace(topic=LATEST, key=b"A", value=None))  # type: ignore[arg-type]  # of a record it asks this
    assert set(live.latest) == {"B"}
