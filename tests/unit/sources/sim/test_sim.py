"""The simulated market: the same for whoever asks, and as unlucky as its URL says, no more and no less."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from stockstream.core.offline import OfflineEngine
from stockstream.errors import BadMessage, SettingsError
from stockstream.models import Tick
from stockstream.sources.contract import History
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.sim.feed import SimFeed, SimHistory
from stockstream.sources.sim.options import Options
from stockstream.sources.sim.stream import SimStream
from stockstream.sources.sim.tape import SLOT_MS, Tape, Trade

SLOT = 170_000_000
T0_MS = SLOT * SLOT_MS
HOUR = range(SLOT, SLOT + 360)
_VALUES = st.integers() | st.floats() | st.text() | st.none() | st.booleans()


def tape(symbol: str = "SIM:AAPL", **options: float) -> Tape:
    return Tape(symbol, Options.model_validate(options))


def trades(of: Tape, slots: Sequence[int] = HOUR) -> list[Trade]:
    return [trade for slot in slots for trade in of.slot(slot)]


class Clock:
    """Epoch ms that stands still until told."""

    def __init__(self) -> None:
        self.ms = T0_MS

    def __call__(self) -> int:
        return self.ms


class Market:
    """A stream read with a clock of ours."""

    def __init__(self, url: str, symbols: Sequence[str] = ("SIM:A", "SIM:B")) -> None:
        self.clock = Clock()
        self.stream = SimStream(url, now_ms=self.clock)
        self.symbols = list(symbols)

    async def until(self, end_ms: int, step_ms: int = 500) -> list[Tick]:
        """All that arrives until then."""
        feed, ticks = SimFeed(), list[Tick]()
        for frame in feed.subscribe(self.symbols, self.clock()):
            await self.stream.send(frame)
        while self.clock.ms < end_ms:
            self.clock.ms += step_ms
            while True:
                receiving = asyncio.create_task(self.stream.receive())
                await asyncio.sleep(0)
                if not receiving.done():  # nothing has arrived that was not received
                    receiving.cancel()
                    await asyncio.wait((receiving,))
                    break
                ticks += [tick for frame in receiving.result() for tick in feed.parse(frame, self.clock())]
        return ticks


def test_the_same_seed_is_the_same_market_whoever_asks_and_in_whatever_order() -> None:
    once = trades(tape(seed=7))
    other = tape(seed=7)
    assert [trade for slot in reversed(HOUR) for trade in reversed(other.slot(slot))] == once[::-1]
    assert trades(tape(seed=8)) != once
    assert [trade.price for trade in trades(tape("SIM:MSFT", seed=7))] != [trade.price for trade in once]


def test_what_a_seed_gives_does_not_change_from_one_release_to_the_next() -> None:
    """Else trades made before an upgrade and after it would share ids and not be the same."""
    assert tape(seed=7).slot(SLOT)[:2] == [
        Trade("SIM:AAPL", 1_700_000_000, T0_MS + 1912, 359.65, 26.0),
        Trade("SIM:AAPL", 1_700_000_001, T0_MS + 2780, 359.73, 46.0),
    ]


@pytest.mark.parametrize("ticks_per_s", [0.1, 1, 10])
def test_ids_have_no_holes_and_times_and_pauses_are_those_of_a_market(ticks_per_s: float) -> None:
    found = trades(tape(ticks_per_s=ticks_per_s))
    assert len(found) == ticks_per_s * 3600
    assert [trade.trade_id for trade in found] == list(range(found[0].trade_id, found[0].trade_id + len(found)))
    times = [trade.time_ms for trade in found]
    assert times == sorted(times)
    assert times[0] >= T0_MS
    assert times[-1] < T0_MS + 3_600_000
    assert all(slot.time_ms // SLOT_MS == SLOT for slot in tape(ticks_per_s=ticks_per_s).slot(SLOT))
    assert all(trade.size >= 1 for trade in found)
    if ticks_per_s == 10:
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert max(pauses) > 5 * 1000 / ticks_per_s
        assert sum(pause < 500 / ticks_per_s for pause in pauses) > len(pauses) / 3


def test_prices_wander_without_jumps() -> None:
    prices = [trade.price for trade in trades(tape(ticks_per_s=2), range(SLOT, SLOT + 1500))]
    steps = [abs(math.log(after / before)) for before, after in itertools.pairwise(prices)]
    assert max(steps) < 0.005
    assert 1.003 < max(prices) / min(prices) < 1.5
    assert all(price == round(price, 2) > 0 for price in prices)


def test_nothing_goes_wrong_by_default() -> None:
    of = tape(ticks_per_s=5)
    assert [trade for slot in HOUR for _, trade in of.arrivals(slot)] == trades(of)
    assert all(at_ms == trade.time_ms for at_ms, trade in of.arrivals(SLOT))


def test_a_share_of_trades_comes_twice() -> None:
    of = tape(ticks_per_s=5, duplicates=0.1)
    came = Counter(trade for slot in HOUR for _, trade in of.arrivals(slot))
    assert list(came) == trades(of)
    assert set(came.values()) == {1, 2}
    assert 0.08 < sum(count == 2 for count in came.values()) / len(came) < 0.12


def test_disorder_keeps_to_its_bound() -> None:
    of = tape(ticks_per_s=5, disorder_ms=3000)
    came = [(at_ms, trade) for slot in HOUR for at_ms, trade in of.arrivals(slot)]
    assert [trade for _, trade in came] == trades(of)
    delays = [at_ms - trade.time_ms for at_ms, trade in came]
    assert min(delays) >= 0
    assert 2900 < max(delays) <= 3000
    assert [trade for _, trade in sorted(came)] != trades(of)


def test_a_share_of_trades_is_late() -> None:
    of = tape(ticks_per_s=5, late=0.02, late_s=1300)
    delays = Counter(at_ms - trade.time_ms for slot in HOUR for at_ms, trade in of.arrivals(slot))
    assert set(delays) == {0, 1_300_000}
    assert 0.01 < delays[1_300_000] / delays.total() < 0.03


def test_ids_jump_over_what_is_lost() -> None:
    of = tape(ticks_per_s=5, id_jumps=0.01)
    ids = [trade.trade_id for slot in HOUR for _, trade in of.arrivals(slot)]
    jumps = [after - before - 1 for before, after in itertools.pairwise(ids) if after > before + 1]
    assert 100 < len(jumps) < 250
    assert min(jumps) >= 1
    assert max(jumps) <= 60


async def test_a_stream_gives_every_trade_from_the_subscription_on_once_and_in_order() -> None:
    market = Market("sim:?seed=3&ticks_per_s=4")
    market.clock.ms += 3_217
    ticks = await market.until(T0_MS + 60_000)
    expected = sorted(
        (trade for symbol in market.symbols for trade in trades(tape(symbol, seed=3, ticks_per_s=4), HOUR[:6])),
        key=lambda trade: trade.time_ms,
    )
    expected = [trade for trade in expected if trade.time_ms >= T0_MS + 3_217]
    assert [tick.event_time for tick in ticks] == [trade.time_ms for trade in expected]
    assert {(tick.symbol, tick.trade_id) for tick in ticks} == {(trade.symbol, trade.trade_id) for trade in expected}
    assert {(tick.source, tick.kind) for tick in ticks} == {("sim", "trade")}


async def test_time_goes_on_while_nobody_receives_and_nothing_is_lost() -> None:
    market = Market("sim:?ticks_per_s=50")
    ticks = await market.until(T0_MS + 300_000, step_ms=150_000)
    assert len(ticks) == 2 * 50 * 300
    assert len({(tick.symbol, tick.trade_id) for tick in ticks}) == len(ticks)


async def test_symbols_come_and_go() -> None:
    market = Market("sim:?ticks_per_s=5")
    first = await market.until(T0_MS + 4_000)
    await market.stream.send(SimFeed().unsubscribe(["SIM:B"])[0])
    market.symbols = ["SIM:A"]
    second = await market.until(T0_MS + 8_000)
    market.symbols = ["SIM:A", "SIM:B"]
    third = await market.until(T0_MS + 20_000)
    came = Counter((tick.symbol, tick.trade_id) for tick in (*first, *second, *third))
    assert set(came.values()) == {1}
    b_ms = [tick.event_time - T0_MS for tick in (*first, *second, *third) if tick.symbol == "SIM:B"]
    assert not any(4_000 < at_ms < 8_000 for at_ms in b_ms)
    assert b_ms[-1] > 19_000
    assert sum(tick.symbol == "SIM:A" for tick in (*first, *second, *third)) == 100


async def test_a_closed_stream_says_so_to_who_waits() -> None:
    stream = SimStream("sim:")
    waiting = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    await stream.close()
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(waiting, 5)


async def test_bad_luck_leaves_the_candles_as_they_are() -> None:
    """Duplicates and disorder within what is accepted: what is merged is what a plain sort of the tape gives."""
    market = Market("sim:?seed=5&ticks_per_s=3&duplicates=0.2&disorder_ms=20000")
    ticks = await market.until(T0_MS + 400_000)
    engine = OfflineEngine()
    for begin in range(0, len(ticks), 97):
        engine.add(ticks[begin : begin + 97])
    candles = {(candle.symbol, candle.window_start): candle for candle, _ in engine.candles("1m")}
    for symbol in market.symbols:
        tape_of = trades(tape(symbol, seed=5, ticks_per_s=3), HOUR[:36])
        for minute_ms in range(T0_MS - T0_MS % 60_000 + 60_000, T0_MS + 300_000, 60_000):
            within = [trade for trade in tape_of if minute_ms <= trade.time_ms < minute_ms + 60_000]
            candle, prices = candles[symbol, minute_ms], [trade.price for trade in within]
            assert (candle.open, candle.high, candle.low, candle.close) == (
                prices[0], max(prices), min(prices), prices[-1],
            )  # fmt: skip
            assert (candle.volume, candle.trades) == (sum(trade.size for trade in within), len(within))


async def test_its_history_fills_what_the_stream_has_lost() -> None:
    url = "sim:?seed=5&ticks_per_s=3&id_jumps=0.05"
    ticks = await Market(url, ["SIM:A"]).until(T0_MS + 100_000)
    expected = trades(tape("SIM:A", seed=5, ticks_per_s=3), HOUR[:10])
    assert len(ticks) < len(expected)
    history: History = SimHistory(url)
    asked = history.trades("SIM:A", T0_MS, T0_MS + 99_999)
    told = [tick async for page in asked for tick in page]
    assert [tick.trade_id for tick in told] == [trade.trade_id for trade in expected]
    assert all(tick.producer_timestamp == tick.event_time for tick in told)
    engine = OfflineEngine()
    engine.add(ticks)
    engine.add(told)
    whole = OfflineEngine()
    whole.add(told)
    assert [candle.close for candle, _ in engine.candles("1m")] == [candle.close for candle, _ in whole.candles("1m")]
    assert [volume for _, volume in engine.candles("1m")] == [volume for _, volume in whole.candles("1m")]


async def test_the_runner_supervises_it_like_any_venue() -> None:
    clock, ticks, came = Clock(), list[Tick](), asyncio.Event()

    async def emit(given: Sequence[Tick]) -> None:
        ticks.extend(given)
        if any(tick.kind == "trade" for tick in given):
            came.set()

    async def open_socket(url: str) -> SimStream:
        return SimStream(url, now_ms=clock)

    runner = ConnectionRunner(SimFeed("sim:?ticks_per_s=9"), ["SIM:A"], emit, now_ms=clock, open_socket=open_socket)
    running = asyncio.create_task(runner.run())
    while runner.status.state != "streaming":  # noqa: ASYNC110 - it sends no event
        await asyncio.sleep(0)
    clock.ms += 20_000
    await asyncio.wait_for(came.wait(), 5)
    await runner.stop()
    await asyncio.wait_for(running, 5)
    assert [tick.kind for tick in ticks[:2]] == ["start", "trade"]
    assert len(ticks) == 1 + 180
    assert runner.status.state == "stopped"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ws://nowhere", "is no simulated market: must be sim:"),
        ("sim:?", "must be"),
        ("sim:?se\udcffed=1", "a name is 'se\\udcffed'"),
        ("sim:?seed", "options are sim:?name=value&name=value"),
        ("sim:?seed=x", "seed is 'x': must be a valid integer"),
        ("sim:?ticks_per_s=0", "ticks_per_s is '0': must be greater than or equal to 0.1"),
        ("sim:?ticks_per_s=nan", "ticks_per_s is 'nan': must be"),
        ("sim:?duplicates=2", "duplicates is '2': must be less than or equal to 1"),
        ("sim:?speed=2", "speed is no option of it: there are seed, ticks_per_s,"),
    ],
)
def test_a_url_that_is_no_market_is_one_clear_line(url: str, said: str) -> None:
    if url == "sim:?":
        assert SimFeed(url).url == url
        return
    with pytest.raises(SettingsError) as error:
        SimFeed(url)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(st.binary() | st.text() | st.lists(_VALUES | st.lists(_VALUES)).map(json.dumps) | _VALUES.map(json.dumps))
def test_nothing_but_bad_message_comes_of_rubbish(frame: str | bytes) -> None:
    try:
        ticks = SimFeed().parse(frame, 1)
    except BadMessage:
        return
    assert ticks == []


@pytest.mark.parametrize("wrong", [{"symbol": "\ud800"}, {"symbol": "A" * 65}, {"price": 10**400}, {"size": 10**400}])
def test_what_no_tick_could_hold_is_a_bad_message(wrong: dict[str, object]) -> None:
    trade = {"symbol": "SIM:A", "id": 1, "time_ms": 1, "price": 1.0, "size": 1.0}
    assert len(SimFeed().parse(json.dumps([[*trade.values()]]), 1)) == 1
    with pytest.raises(BadMessage, match="no trades of a simulated market"):
        SimFeed().parse(json.dumps([[*(trade | wrong).values()]]), 1)


@given(st.lists(_VALUES, min_size=5, max_size=5))
def test_a_trade_with_a_wrong_value_is_a_bad_message(values: list[object]) -> None:
    symbol, trade_id, time_ms, _price, _size = values
    good = isinstance(symbol, str) and type(trade_id) is int and type(time_ms) is int
    try:
        [tick] = SimFeed().parse(json.dumps([values]), 1)
    except BadMessage:
        return
    assert good
    assert (tick.symbol, tick.trade_id, tick.event_time) == (symbol, trade_id, time_ms)
