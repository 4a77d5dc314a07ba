"""The runner against a scripted venue, under a clock that only the test moves."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
from scripted import START_MS, Time, Venue, settle
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Frame, PartlyBad
from stockstream.sources.runner import ConnectionRunner, EmitFailed, Timing
from stockstream.testing.wait import wait_until_async

TIMING = Timing(healthy_s=60, ping_after_s=20, pong_within_s=10, fatal_retry_s=300)
Event = tuple[str, str, int]


class ScriptedFeed:
    """A frame ``A B`` is one tick of A and one of B; ``bad`` is a bad message, ``quote A`` a quote."""

    name = "venue"
    url = "ws://venue"
    capabilities = Capabilities(kind="trades", symbols_per_connection=5, silence_s=60)
    is_trading = True
    fatal_error: type[Exception] | None = None

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        return [f"+{symbol}" for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        return [f"-{symbol}" for symbol in symbols]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        text = frame if isinstance(frame, str) else frame.decode()
        if text == "bad":
            raise BadMessage("bad")
        if text == "bad A":
            raise PartlyBad("bad in part", [Tick("A", received_ms, 1.0, 1.0)])
        kind: Any = "trade"
        if text.startswith("quote "):
            kind, text = "quote", text.removeprefix("quote ")
        return [
            Tick(symbol, received_ms, 1.0, 1.0, kind=kind, producer_timestamp=received_ms) for symbol in text.split()
        ]

    def is_open(self, now_ms: int) -> bool:
        return self.is_trading

    def fatal(self, error: Exception) -> str | None:
        return "the key is wrong" if self.fatal_error is not None and isinstance(error, self.fatal_error) else None


class Scene:
    def __init__(self, symbols: Sequence[str] = ("A", "B"), *, offers: bool = False) -> None:
        self.time, self.venue, self.feed = Time(), Venue(), ScriptedFeed()
        self.ticks: list[Tick] = []
        self.gate: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.taker = Taker(self) if offers else None
        self.runner = ConnectionRunner(
            self.feed,
            symbols,
            self.emit,
            now_ms=self.time.now_ms,
            offer=self.taker,
            timing=TIMING,
            open_socket=self.venue.open,
            steady_s=self.time.steady_s,
            sleep=self.time.sleep,
            rng=random.Random(5),
            name="venue/7",
        )
        self.task = asyncio.create_task(self.runner.run())

    async def emit(self, ticks: Sequence[Tick]) -> None:
        if self.gate is not None:
            await self.gate()
        self.ticks += ticks

    @property
    def events(self) -> list[Event]:
        """(kind, symbol, seconds since the start) of everything emitted."""
        return [(tick.kind, tick.symbol, (tick.event_time - START_MS) // 1000) for tick in self.ticks]

    @property
    def gaps(self) -> list[tuple[str, int, int, str | None]]:
        return [
            (tick.symbol, (tick.event_time - START_MS) // 1000, ((tick.until or 0) - START_MS) // 1000, tick.cause)
            for tick in self.ticks
            if tick.kind == "gap"
        ]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    await settle()
    yield scene
    scene.task.cancel()
    await asyncio.gather(scene.task, return_exceptions=True)


async def test_it_subscribes_everything_and_says_so_before_the_first_tick(scene: Scene) -> None:
    assert scene.venue.socket.said == ["+A", "+B"]
    scene.venue.socket.arrive("A", "B A")
    await scene.time.pass_(0)
    assert scene.events == [
        ("start", "A", 0),
        ("start", "B", 0),
        ("trade", "A", 0),
        ("trade", "B", 0),
        ("trade", "A", 0),
    ]
    status = scene.runner.status
    assert (status.state, status.frames, status.symbols["A"].ticks, status.symbols["B"].ticks) == ("streaming", 2, 2, 1)
    assert status.symbols["A"].event_ms == START_MS


@pytest.mark.parametrize(("code", "cause"), [(1000, "closed 1000"), (1001, "closed 1001"), (None, "aborted")])
async def test_a_connection_that_ends_is_made_again_and_leaves_a_gap(
    scene: Scene, code: int | None, cause: str
) -> None:
    await scene.time.pass_(5)
    scene.venue.socket.arrive("A")
    await scene.time.pass_(3)
    scene.venue.socket.end(code)
    await scene.time.pass_(1)
    assert len(scene.venue.sockets) == 2
    assert scene.venue.socket.said == ["+A", "+B"]
    assert scene.gaps == [("A", 5, 8, cause), ("B", 5, 8, cause)]
    assert [event[:2] for event in scene.events[-3:]] == [("trade", "A"), ("gap", "A"), ("gap", "B")]
    assert scene.runner.status.reconnects == 1


async def test_frames_that_arrived_before_the_end_are_not_lost(scene: Scene) -> None:
    scene.venue.socket.arrive("A", "A", "A")
    scene.venue.socket.end(1001)
    await scene.time.pass_(0)
    assert [event for event in scene.events if event[0] == "trade"] == [("trade", "A", 0)] * 3


async def test_every_cause_of_a_long_hole_is_named_once(scene: Scene) -> None:
    scene.venue.failures = [ConnectionRefusedError(), ConnectionRefusedError(), TimeoutError()]
    scene.venue.socket.end(1001)
    await scene.time.pass_(60)
    assert scene.gaps[0][3] == "closed 1001, refused, no answer"
    assert len(scene.gaps) == 2


async def test_attempts_are_spread_over_growing_times_up_to_the_cap(scene: Scene) -> None:
    scene.venue.failures = [ConnectionRefusedError() for _ in range(10_000)]
    scene.venue.socket.end()
    await scene.time.pass_(60)
    at_first = scene.venue.attempts
    await scene.time.pass_(3600)
    later = scene.venue.attempts - at_first
    assert at_first > 4
    # Uniform between 0 and 30 s: some 240 an hour; far fewer would mean a longer cap, far more a shorter one.
    assert 160 < later < 360


async def test_a_healthy_minute_forgets_earlier_failures(scene: Scene) -> None:
    scene.venue.failures = [ConnectionRefusedError() for _ in range(12)]
    scene.venue.socket.end()
    while scene.venue.failures or scene.runner.status.state != "streaming":
        await scene.time.pass_(1)
    for _ in range(61):
        scene.venue.socket.arrive("A")
        await scene.time.pass_(1)
    scene.venue.socket.end()
    await scene.time.pass_(TIMING.backoff_base_s)
    assert scene.runner.status.state == "streaming"


async def test_silence_while_the_venue_is_open_ends_the_connection(scene: Scene) -> None:
    scene.venue.socket.arrive("A")
    await scene.time.pass_(59)
    assert len(scene.venue.sockets) == 1
    await scene.time.pass_(3)
    assert len(scene.venue.sockets) == 2
    assert scene.venue.sockets[0].closed_by_us
    assert scene.gaps[0][1] == 0
    assert scene.gaps[0][3] == "silent"


async def test_silence_means_nothing_while_the_venue_is_closed(scene: Scene) -> None:
    scene.feed.is_trading = False
    await scene.time.pass_(3600)
    assert len(scene.venue.sockets) == 1
    scene.feed.is_trading = True
    await scene.time.pass_(50)
    assert len(scene.venue.sockets) == 1
    await scene.time.pass_(12)
    assert len(scene.venue.sockets) == 2


async def test_symbols_that_are_never_traded_are_asked_for_less_and_less_often(scene: Scene) -> None:
    await scene.time.pass_(3600)
    assert len(scene.venue.sockets) in range(6, 10)
    scene.venue.socket.arrive("quote A")
    await scene.time.pass_(120)
    before = len(scene.venue.sockets)
    scene.venue.socket.arrive("A")
    await scene.time.pass_(63)
    assert len(scene.venue.sockets) == before + 1


async def test_a_pong_proves_that_nothing_was_lost_until_then(scene: Scene) -> None:
    scene.feed.is_trading = False
    await scene.time.pass_(100)
    assert scene.venue.socket.pings == 4 or scene.venue.socket.pings == 5
    scene.venue.socket.end()
    await scene.time.pass_(1)
    assert scene.gaps[0][1] >= 80


async def test_a_connection_that_does_not_answer_is_given_up(scene: Scene) -> None:
    scene.feed.is_trading = False
    scene.venue.socket.answers_pings = False
    await scene.time.pass_(32)
    assert len(scene.venue.sockets) == 2
    assert scene.gaps[0][3] == "unresponsive"


async def test_rubbish_is_counted_and_told_rarely(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(50):
        scene.venue.socket.arrive("bad", "A")
        await scene.time.pass_(1)
    assert scene.runner.status.bad_frames == 50
    assert scene.runner.status.symbols["A"].ticks == 50
    assert len(scene.venue.sockets) == 1
    assert len([record for record in caplog.records if "bad frames" in record.getMessage()]) == 1


async def test_ticks_that_nobody_asked_for_are_not_passed_on(scene: Scene) -> None:
    scene.venue.socket.arrive("C A")
    await scene.time.pass_(0)
    assert scene.runner.status.unasked == 1
    assert {tick.symbol for tick in scene.ticks if tick.kind == "trade"} == {"A"}


async def test_ticks_of_a_symbol_that_arrive_together_are_told_apart_by_their_reception(scene: Scene) -> None:
    scene.venue.socket.arrive("A", "B A", "A")
    await scene.time.pass_(0)
    scene.venue.socket.arrive("A")
    await scene.time.pass_(2)
    scene.venue.socket.arrive("A")
    await scene.time.pass_(0)
    trades = [tick for tick in scene.ticks if (tick.kind, tick.symbol) == ("trade", "A")]
    assert [tick.producer_timestamp - START_MS for tick in trades] == [0, 1, 2, 3, 2000]


async def test_a_clock_that_is_set_back_is_followed(scene: Scene) -> None:
    await scene.time.pass_(50)
    scene.venue.socket.arrive("A")
    await scene.time.pass_(0)
    scene.time.now_s -= 40
    scene.venue.socket.arrive("A")
    await scene.time.pass_(0)
    assert scene.ticks[-1].producer_timestamp == START_MS + 10_000


async def test_a_slow_taker_slows_the_reader_and_is_not_the_venues_silence(scene: Scene) -> None:
    opened = asyncio.Event()
    scene.gate = opened.wait  # type: ignore[assignment]  # what it returns does not matter
    scene.venue.socket.arrive("A")
    await settle()
    scene.venue.socket.arrive("A", "A")
    await scene.time.pass_(600)
    assert len(scene.venue.sockets) == 1
    assert scene.runner.status.frames == 1
    opened.set()
    await scene.time.pass_(30)
    assert len(scene.venue.sockets) == 1
    assert scene.runner.status.frames == 3


class Taker:
    """Takes what is offered while it has room."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.has_room, self.offered = scene, True, 0
        self.error: Exception | None = None

    def __call__(self, ticks: Sequence[Tick]) -> bool:
        if not self.has_room:
            return False
        if ticks and self.error is not None:
            raise self.error
        self.offered += len(ticks)
        self.scene.ticks += ticks
        return True


@pytest.fixture
async def taker() -> AsyncIterator[Taker]:
    scene = Scene(offers=True)
    await settle()
    assert scene.taker is not None
    yield scene.taker
    scene.task.cancel()
    await asyncio.gather(scene.task, return_exceptions=True)


async def test_ticks_are_taken_as_they_arrive_where_nothing_has_to_be_waited_for(taker: Taker) -> None:
    scene = taker.scene
    scene.venue.socket.arrive("A", "B A", "bad")
    assert [event[0] for event in scene.events] == ["start", "start", "trade", "trade", "trade"]
    assert (taker.offered, scene.runner.status.frames, scene.runner.status.bad_frames) == (3, 3, 1)


async def test_what_cannot_be_taken_at_once_is_awaited_and_stays_in_order(taker: Taker) -> None:
    scene, opened = taker.scene, asyncio.Event()
    scene.gate = opened.wait  # type: ignore[assignment]  # what it returns does not matter
    taker.has_room = False
    scene.venue.socket.arrive("A")
    await settle()
    taker.has_room = True
    scene.venue.socket.arrive("B")
    await settle()
    assert taker.offered == 0
    opened.set()
    await settle()
    scene.venue.socket.arrive("A B")
    assert [event[:2] for event in scene.events[2:]] == [("trade", "A"), ("trade", "B"), ("trade", "A"), ("trade", "B")]
    assert taker.offered == 2


async def test_a_taker_that_fails_at_once_ends_the_runner_too(taker: Taker) -> None:
    taker.error = OSError("disk full")
    taker.scene.venue.socket.arrive("A")
    with pytest.raises(EmitFailed, match="disk full"):
        await asyncio.wait_for(taker.scene.task, 5)
    assert taker.scene.venue.socket.closed_by_us


async def test_a_fatal_error_is_visible_and_tried_again_slowly(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.feed.fatal_error = PermissionError
    scene.venue.failures = [PermissionError()]
    scene.venue.socket.end()
    await scene.time.pass_(30)
    assert (scene.runner.status.state, scene.runner.status.detail) == ("failed", "the key is wrong")
    assert "venue/7: the key is wrong" in caplog.text
    attempts = scene.venue.attempts
    await scene.time.pass_(250)
    assert scene.venue.attempts == attempts
    await scene.time.pass_(60)
    assert scene.runner.status.state == "streaming"


async def test_symbols_come_and_go_while_it_runs(scene: Scene) -> None:
    await scene.time.pass_(5)
    await scene.runner.add(["C", "A"])
    await scene.runner.remove(["B", "Z"])
    assert scene.venue.socket.said == ["+A", "+B", "+C", "-B"]
    assert scene.events[-1] == ("start", "C", 5)
    scene.venue.socket.arrive("B C")
    await scene.time.pass_(1)
    assert [event[1] for event in scene.events if event[0] == "trade"] == ["C"]
    scene.venue.socket.end()
    await scene.time.pass_(1)
    assert scene.venue.socket.said == ["+A", "+C"]
    assert {gap[0] for gap in scene.gaps} == {"A", "C"}


async def test_symbols_that_come_while_it_is_down_are_subscribed_with_the_rest(scene: Scene) -> None:
    scene.venue.failures = [ConnectionRefusedError()]
    scene.venue.socket.end()
    await settle()
    await scene.runner.add(["C"])
    await scene.time.pass_(10)
    assert scene.venue.socket.said == ["+A", "+B", "+C"]
    assert {gap[0] for gap in scene.gaps} == {"A", "B"}


async def test_a_connection_takes_no_more_symbols_than_the_venue_allows(scene: Scene) -> None:
    assert scene.runner.room == 3
    with pytest.raises(InvalidInput, match="takes 3 more symbols, not 4"):
        await scene.runner.add(["C", "D", "E", "F"])
    assert scene.venue.socket.said == ["+A", "+B"]


async def test_stopping_emits_what_arrived_before_and_nothing_after(scene: Scene) -> None:
    scene.venue.socket.arrive("A", "B")
    await scene.runner.stop()
    await asyncio.wait_for(scene.task, 5)
    assert scene.venue.socket.closed_by_us
    assert [event[0] for event in scene.events] == ["start", "start", "trade", "trade"]
    assert scene.runner.status.state == "stopped"
    assert scene.venue.attempts == 1


@pytest.mark.parametrize("hangs", [True, False])
async def test_stopping_does_not_wait_for_a_venue_that_is_down(scene: Scene, hangs: bool) -> None:
    scene.venue.hangs = hangs
    scene.venue.failures = [ConnectionRefusedError() for _ in range(100)]
    scene.venue.socket.end()
    await scene.time.pass_(20)
    await scene.runner.stop()
    await asyncio.wait_for(scene.task, 5)
    assert scene.runner.status.state == "stopped"
    assert not scene.gaps


async def test_a_taker_that_fails_ends_the_runner(scene: Scene) -> None:
    async def fail() -> None:
        raise OSError("disk full")

    scene.gate = fail
    scene.venue.socket.arrive("A")
    with pytest.raises(EmitFailed, match="disk full"):
        await asyncio.wait_for(scene.task, 5)
    assert scene.venue.socket.closed_by_us
    await wait_until_async(lambda: scene.runner.status.frames == 1, 5, "the frame to be counted")


async def test_what_is_good_of_a_partly_bad_frame_is_taken() -> None:
    scene = Scene()
    await settle()
    scene.venue.socket.arrive("bad A")
    await settle()
    assert [event[:2] for event in scene.events if event[0] == "trade"] == [("trade", "A")]
    assert scene.runner.status.bad_frames == 1
    await stop(scene)


async def test_commands_are_paced_and_a_symbol_counts_as_subscribed_when_all_are_sent() -> None:
    scene = Scene()
    scene.feed.capabilities = Capabilities("trades", 5, 60, command_every_s=2.0)
    await settle()
    assert scene.venue.socket.said == ["+A"]
    await scene.time.pass_(1.9)
    assert scene.venue.socket.said == ["+A"]
    await scene.time.pass_(0.1)
    assert scene.venue.socket.said == ["+A", "+B"]
    assert scene.events == [("start", "A", 2), ("start", "B", 2)]
    await stop(scene)


async def test_with_a_heartbeat_silence_is_never_given_more_time() -> None:
    scene = Scene()
    scene.feed.capabilities = Capabilities("trades", 5, 60, heartbeat=True)
    for connection in range(1, 5):
        await settle()
        assert len(scene.venue.sockets) == connection
        await scene.time.pass_(62)
        assert scene.venue.socket.closed_by_us or len(scene.venue.sockets) > connection
        await scene.time.pass_(3)
    await stop(scene)


async def test_a_venue_that_wants_to_be_left_alone_is() -> None:
    scene = Scene()
    scene.venue.failures = [InvalidStatus(Response(429, "", Headers({"Retry-After": "90"})))]
    await scene.time.pass_(89)
    assert scene.venue.attempts == 1
    assert scene.runner.status.state == "waiting"
    await scene.time.pass_(2)
    assert scene.venue.attempts == 2
    assert scene.runner.status.state == "streaming"
    await stop(scene)


async def stop(scene: Scene) -> None:
    await scene.runner.stop()
    await scene.task
