from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import pytest

from stockstream.errors import MalformedTrades
from stockstream.models import Tick
from stockstream.sources.replay.player import Player

NIGHT_MS = 16 * 3_600_000


def trade(number: int, event_ms: int = 1_000, symbol: str = "A") -> Tick:
    return Tick(symbol, event_ms, 1.0, 1.0, trade_id=number, producer_timestamp=event_ms, source="replay")


class Taken:
    """What was emitted, chunk by chunk, and the steady times (s) of that."""

    def __init__(self) -> None:
        self.chunks: list[list[int]] = []
        self.times_s: list[float] = []
        self.came = asyncio.Event()

    async def __call__(self, ticks: Sequence[Tick]) -> None:
        self.chunks.append([tick.trade_id for tick in ticks])
        self.times_s.append(time.monotonic())
        self.came.set()

    @property
    def all(self) -> list[int]:
        return [number for chunk in self.chunks for number in chunk]


@pytest.fixture
def taken() -> Taken:
    return Taken()


async def test_at_full_speed_all_are_given_in_order_and_in_large_chunks(taken: Taken) -> None:
    player = Player((trade(n, n * NIGHT_MS, f"S{n % 3}") for n in range(1, 1202)), taken, speed=None)
    await player.run()
    assert taken.all == list(range(1, 1202))
    assert [len(chunk) for chunk in taken.chunks] == [500, 500, 201]
    assert (player.sent, player.symbols) == (1201, {"S0", "S1", "S2"})


async def test_no_trade_is_given_before_it_is_due(taken: Taken) -> None:
    began_s = time.monotonic()
    await Player([trade(1, 5_000), trade(2, 5_000), trade(3, 7_000), trade(4, 8_000)], taken, speed=20).run()
    assert taken.all == [1, 2, 3, 4]
    assert taken.chunks[0] == [1, 2]
    due_s = {1: 0.0, 3: 0.1, 4: 0.15}
    for chunk, at_s in zip(taken.chunks, taken.times_s, strict=True):
        assert at_s >= began_s + due_s[chunk[0]]


async def test_a_trade_that_is_older_than_those_before_it_is_due_at_once(taken: Taken) -> None:
    await Player([trade(1, 2 * NIGHT_MS), trade(2, NIGHT_MS), trade(3, 2 * NIGHT_MS)], taken, speed=1).run()
    assert taken.chunks == [[1, 2, 3]]


async def test_only_one_symbol_is_played_and_its_first_trade_is_due_at_once(taken: Taken) -> None:
    player = Player([trade(1), trade(2, NIGHT_MS, "B"), trade(3, 2 * NIGHT_MS)], taken, speed=1, only=["B"])
    await player.run()
    assert taken.all == [2]
    assert (player.sent, player.symbols) == (1, {"B"})


async def test_stop_ends_the_wait_for_a_night_to_pass(taken: Taken) -> None:
    player = Player([trade(1), trade(2, NIGHT_MS)], taken, speed=1)
    running = asyncio.create_task(player.run())
    await taken.came.wait()
    player.stop()
    await asyncio.wait_for(running, 10)
    assert taken.all == [1]
    assert player.sent == 1


async def test_stop_gives_what_was_read_and_reads_no_more(taken: Taken) -> None:
    read = 0

    def trades() -> Iterator[Tick]:
        nonlocal read
        while True:
            read += 1
            yield trade(read)

    async def emit(ticks: Sequence[Tick]) -> None:
        await taken(ticks)
        if len(taken.chunks) == 2:
            player.stop()

    player = Player(trades(), emit, speed=None)
    await player.run()
    assert taken.all == list(range(1, player.sent + 1))
    assert read - player.sent <= 1


async def test_other_work_goes_on_while_trades_are_left_out(taken: Taken) -> None:
    def trades() -> Iterator[Tick]:
        while True:
            yield trade(1, symbol="B")

    player = Player(trades(), taken, speed=None, only=["A"])
    asyncio.get_running_loop().call_soon(player.stop)
    await player.run()
    assert player.sent == 0


async def test_the_trades_before_a_line_that_is_none_are_given(taken: Taken) -> None:
    def trades() -> Iterator[Tick]:
        yield trade(1)
        yield trade(2)
        raise MalformedTrades("trades.csv", 4, "no")

    with pytest.raises(MalformedTrades):
        await Player(trades(), taken, speed=None).run()
    assert taken.all == [1, 2]


async def test_what_emit_raises_ends_the_run_and_is_not_counted() -> None:
    async def emit(ticks: Sequence[Tick]) -> None:
        raise OSError("full")

    player = Player([trade(1)], emit, speed=None)
    with pytest.raises(OSError, match="full"):
        await player.run()
    assert player.sent == 0


class FakeTime:
    """Steady seconds that pass only while somebody sleeps, a little longer than asked, and while ``emit`` works."""

    def __init__(self) -> None:
        self.s = 5.0
        self.slept_s: list[float] = []
        self.given: list[tuple[float, int]] = []
        self.working_s = 0.0

    def __call__(self) -> float:
        return self.s

    async def sleep(self, wait_s: float) -> None:
        self.slept_s.append(wait_s)
        self.s += wait_s + 0.004

    async def emit(self, ticks: Sequence[Tick]) -> None:
        self.given += [(self.s - 5.0, tick.trade_id) for tick in ticks]
        self.s += self.working_s

    async def play(self, trades: Iterable[Tick] | AsyncIterable[Tick], **options: Any) -> list[tuple[float, int]]:
        await Player(trades, self.emit, steady_s=self, sleep=self.sleep, **options).run()
        return self.given


async def test_no_delay_adds_up() -> None:
    """Sleeps too long by 4 ms and an emit that takes 3 ms, ten thousand times: at most 4 ms behind at the end."""
    time_ = FakeTime()
    time_.working_s = 0.003
    given = await time_.play([trade(n, 1_000 + n * 100) for n in range(10_000)], speed=2)
    assert len(time_.slept_s) == 9_999
    for at_s, number in given:
        assert 0 <= at_s - number * 0.05 < 0.0041


async def test_pauses_are_kept_and_what_is_behind_is_caught_up() -> None:
    time_ = FakeTime()
    time_.working_s = 100.0
    times_ms = [1_000, 2_000, 3_000, NIGHT_MS, NIGHT_MS + 1_000]
    given = await time_.play([trade(n, at_ms) for n, at_ms in enumerate(times_ms)], speed=10)
    assert [number for _, number in given] == [0, 1, 2, 3, 4]
    assert [round(at_s, 2) for at_s, _ in given] == [0, 100, 100, 5759.9, 5859.9]


async def test_pace_is_that_of_reception_if_asked_for() -> None:
    trades = [trade(1, 5_000), trade(2, 1_000), trade(3, 6_000)]
    for tick, received_ms in zip(trades, (10_000, 12_000, 13_000), strict=True):
        tick.producer_timestamp = received_ms
    given = await FakeTime().play(trades, speed=1, clock="received")
    assert [(round(at_s, 1), number) for at_s, number in given] == [(0, 1), (2, 2), (3, 3)]


async def test_ticks_that_have_to_be_waited_for_are_played_alike() -> None:
    async def trades() -> AsyncIterator[Tick]:
        for n in range(3):
            await asyncio.sleep(0)
            yield trade(n, 1_000 + 500 * n)

    given = await FakeTime().play(trades(), speed=1)
    assert [(round(at_s, 1), number) for at_s, number in given] == [(0, 0), (0.5, 1), (1.0, 2)]
