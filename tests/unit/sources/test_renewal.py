"""Renewals against a scripted venue that confirms subscriptions, under a clock that only the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scripted import START_MS, ScriptedSocket, Time, Venue, settle
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Confirmed, Ending, Fatal, Frame, Refused
from stockstream.sources.runner import ConnectionRunner, Timing

LIFETIME_S = 600.0
TIMING = Timing(healthy_s=60, ping_after_s=20, pong_within_s=10, fatal_retry_s=300, quiet_s=20, renew_within_s=60)
CAPABILITIES = Capabilities(
    kind="trades", symbols_per_connection=5, silence_s=1e9, lifetime_s=LIFETIME_S, command_every_s=0.25, confirms=True
)


class ConfirmingFeed:
    """A command a symbol, answered by ``ok A``; ``A 7`` is a trade of A with the id 7."""

    name = "venue"
    url = "ws://venue"
    capabilities = CAPABILITIES

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        return [f"+{symbol}" for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        return [f"-{symbol}" for symbol in symbols]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        text = frame if isinstance(frame, str) else frame.decode()
        word, _, rest = text.partition(" ")
        if word == "ok":
            raise Confirmed(rest.split())
        if word == "refused":
            raise Refused("no such symbol", [rest])
        if word == "ending":
            raise Ending("the venue will shut down")
        if word == "fatal":
            raise Fatal("the key is wrong")
        if not rest.isdecimal():
            raise BadMessage(text)
        return [Tick(word, received_ms, 1.0, 1.0, trade_id=int(rest), producer_timestamp=received_ms)]

    def is_open(self, now_ms: int) -> bool:
        return True

    def fatal(self, error: Exception) -> str | None:
        return "banned" if isinstance(error, InvalidStatus) and error.response.status_code == 418 else None


class Scene:
    def __init__(self, feed: Any = None, poll: Any = None, symbols: Sequence[str] = ("A", "B")) -> None:
        self.time, self.venue = Time(), Venue()
        self.feed = feed or ConfirmingFeed()
        self.ticks: list[Tick] = []
        self.runner = ConnectionRunner(
            self.feed,
            symbols,
            self.emit,
            now_ms=self.time.now_ms,
            timing=TIMING,
            open_socket=self.venue.open,
            poll=poll,
            steady_s=self.time.steady_s,
            sleep=self.time.sleep,
            rng=random.Random(5),
        )
        self.task = asyncio.create_task(self.runner.run())

    async def emit(self, ticks: Sequence[Tick]) -> None:
        self.ticks += ticks

    async def confirm(self, socket: ScriptedSocket | None = None) -> None:
        await self.time.pass_(1)
        (socket or self.venue.socket).arrive("ok A", "ok B")
        await self.time.pass_(0)

    async def until_renewing(self) -> ScriptedSocket:
        """Let time pass until another connection is there, all asked for on it; nothing has come there yet."""
        while len(self.venue.sockets) < 2:
            self.venue.sockets[0].arrive("A 1")
            await self.time.pass_(5)
        await self.time.pass_(1)
        return self.venue.sockets[1]

    @property
    def controls(self) -> list[tuple[str, str]]:
        return [(tick.kind, tick.symbol) for tick in self.ticks if tick.kind in ("start", "gap")]

    @property
    def ids(self) -> list[int]:
        return [tick.trade_id for tick in self.ticks if tick.kind == "trade"]

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    await settle()
    yield scene
    await scene.end()


async def test_symbols_are_covered_when_the_venue_confirms_them(scene: Scene) -> None:
    await scene.time.pass_(5)
    assert scene.runner.status.state == "connecting"
    assert scene.controls == []
    scene.venue.socket.arrive("ok A", "A 1")
    await scene.time.pass_(0)
    assert scene.controls == [("start", "A")]
    assert scene.ticks[0].event_time == START_MS + 5000
    scene.venue.socket.arrive("ok B")
    await scene.time.pass_(0)
    assert scene.controls == [("start", "A"), ("start", "B")]
    assert (scene.runner.status.state, scene.runner.status.connections) == ("streaming", 1)


async def test_commands_are_spaced(scene: Scene) -> None:
    assert scene.venue.socket.said == ["+A"]
    await scene.time.pass_(0.2)
    assert scene.venue.socket.said == ["+A"]
    await scene.time.pass_(0.1)
    assert scene.venue.socket.said == ["+A", "+B"]


async def test_a_subscription_that_is_never_confirmed_ends_the_connection(scene: Scene) -> None:
    await scene.time.pass_(5)
    scene.venue.socket.arrive("ok A")
    await scene.time.pass_(10)
    assert len(scene.venue.sockets) == 2
    await scene.confirm()
    gaps = [(tick.symbol, tick.cause) for tick in scene.ticks if tick.kind == "gap"]
    assert gaps == [("A", "subscription not confirmed")]
    assert scene.controls[-1] == ("start", "B"), "of what was never subscribed nothing was missed"


async def test_a_refused_symbol_is_visible_and_does_not_end_the_connection(scene: Scene) -> None:
    await scene.time.pass_(1)
    scene.venue.socket.arrive("ok A", "refused B")
    await scene.time.pass_(30)
    assert scene.controls == [("start", "A")]
    assert (scene.runner.status.state, scene.runner.status.refused) == ("streaming", "no such symbol")
    assert len(scene.venue.sockets) == 1


async def test_a_connection_is_renewed_before_its_lifetime_ends_without_a_hole(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    assert 0.8 * LIFETIME_S < scene.time.now_s < 0.96 * LIFETIME_S
    old = scene.venue.sockets[0]
    scene.ticks.clear()
    old.arrive("A 2")
    fresh.arrive("A 2")
    await scene.time.pass_(2)
    assert not old.closed_by_us, "what was asked for is not confirmed yet"
    fresh.arrive("ok A")
    await scene.time.pass_(2)
    assert not old.closed_by_us
    old.arrive("A 3", "B 1")
    fresh.arrive("ok B", "B 1")
    await scene.time.pass_(2)
    assert old.closed_by_us
    assert not fresh.closed_by_us
    fresh.arrive("A 4")
    await scene.time.pass_(1)
    assert sorted(set(scene.ids)) == [1, 2, 3, 4]
    assert scene.controls == []
    status = scene.runner.status
    assert (status.state, status.renewals, status.reconnects) == ("streaming", 1, 0)


async def test_a_notice_renews_at_once(scene: Scene) -> None:
    await scene.confirm()
    scene.venue.socket.arrive("ending")
    await scene.time.pass_(1)
    assert len(scene.venue.sockets) == 2
    scene.venue.sockets[1].arrive("ok A", "ok B", "A 1")
    await scene.time.pass_(1)
    assert scene.venue.sockets[0].closed_by_us
    assert scene.controls == [("start", "A"), ("start", "B")]


async def test_what_arrived_on_the_old_connection_while_it_closes_is_not_lost(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    old = scene.venue.sockets[0]
    closing = old.close

    async def close_slowly() -> None:
        old.arrive("A 9")
        await closing()

    old.close = close_slowly  # type: ignore[method-assign]
    fresh.arrive("ok A", "ok B", "A 8")
    await scene.time.pass_(2)
    assert {8, 9} <= set(scene.ids)


async def test_where_renewal_fails_the_old_connection_goes_on_and_it_is_tried_again(scene: Scene) -> None:
    await scene.confirm()
    scene.venue.failures = [ConnectionRefusedError(), TimeoutError()]
    await scene.until_renewing()
    assert scene.venue.attempts == 4
    old, silent = scene.venue.sockets
    silent.end(1001)
    await scene.time.pass_(10)
    assert len(scene.venue.sockets) == 3
    old.arrive("A 5")
    fresh = scene.venue.sockets[2]
    fresh.arrive("ok A", "ok B")
    await scene.time.pass_(1)
    fresh.arrive("A 6")
    await scene.time.pass_(2)
    assert old.closed_by_us
    assert {5, 6} <= set(scene.ids)
    assert scene.controls == [("start", "A"), ("start", "B")]


async def test_a_new_connection_that_does_not_deliver_does_not_take_over(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    old = scene.venue.sockets[0]
    fresh.arrive("ok A", "ok B")
    for number in range(10, 90):
        old.arrive(f"A {number}")
        await scene.time.pass_(1)
    assert fresh.closed_by_us
    assert not old.closed_by_us
    assert set(range(10, 90)) <= set(scene.ids)


async def test_where_nothing_is_traded_it_takes_over_after_a_while(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    fresh.arrive("ok A", "ok B")
    await scene.time.pass_(15)
    assert not scene.venue.sockets[0].closed_by_us
    await scene.time.pass_(10)
    assert scene.venue.sockets[0].closed_by_us
    assert len(scene.venue.sockets) == 2


async def test_an_old_connection_that_ends_before_the_new_one_delivers_leaves_a_gap(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    scene.venue.sockets[0].end(1001)
    await scene.time.pass_(5)
    assert fresh.closed_by_us
    await scene.confirm()
    assert scene.controls[-2:] == [("gap", "A"), ("gap", "B")]


async def test_symbols_that_come_during_a_renewal_are_asked_for_on_both_connections(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    adding = asyncio.create_task(scene.runner.add(["C"]))
    await scene.time.pass_(2)
    await adding
    assert [socket.said[-1] for socket in scene.venue.sockets] == ["+C", "+C"]
    fresh.arrive("ok A", "ok B", "A 2")
    await scene.time.pass_(2)
    assert not scene.venue.sockets[0].closed_by_us
    fresh.arrive("ok C")
    await scene.time.pass_(2)
    assert scene.venue.sockets[0].closed_by_us
    assert scene.controls == [("start", "A"), ("start", "B"), ("start", "C")]


async def test_stopping_during_a_renewal_emits_what_arrived_on_both(scene: Scene) -> None:
    await scene.confirm()
    fresh = await scene.until_renewing()
    scene.venue.sockets[0].arrive("A 20")
    fresh.arrive("A 21")
    await scene.runner.stop()
    await asyncio.wait_for(scene.task, 5)
    assert {20, 21} <= set(scene.ids)
    assert all(socket.closed_by_us for socket in scene.venue.sockets)
    assert scene.runner.status.state == "stopped"


async def test_what_a_venue_says_to_be_fatal_is_visible_and_tried_again_rarely(scene: Scene) -> None:
    await scene.confirm()
    scene.venue.socket.arrive("fatal")
    await scene.time.pass_(100)
    assert (scene.runner.status.state, scene.runner.status.detail) == ("failed", "the key is wrong")
    assert scene.venue.attempts == 1
    await scene.time.pass_(205)
    assert scene.venue.attempts == 2


def refusal(status: int, retry_after: str | None) -> InvalidStatus:
    headers = Headers() if retry_after is None else Headers({"Retry-After": retry_after})
    return InvalidStatus(Response(status, "", headers))


@pytest.mark.parametrize(
    ("status", "retry_after", "state", "before_s", "after_s"),
    [
        (418, "7200", "failed", 7190, 20),
        (418, None, "failed", 290, 20),
        (429, "120", "waiting", 110, 20),
        (429, "rubbish", "waiting", 8, 5),
        (503, None, "waiting", 0, 2),
    ],
)
async def test_a_refusal_is_left_alone_as_long_as_the_venue_says(
    scene: Scene, status: int, retry_after: str | None, state: str, before_s: float, after_s: float
) -> None:
    await scene.confirm()
    scene.venue.failures = [refusal(status, retry_after)]
    scene.venue.socket.end(1001)
    await scene.time.pass_(1)
    if before_s:
        assert scene.runner.status.state == state
        await scene.time.pass_(before_s)
        assert scene.venue.attempts == 2
    await scene.time.pass_(after_s)
    assert scene.venue.attempts == 3


async def test_a_refused_renewal_is_visible_and_not_tried_before_its_time(scene: Scene) -> None:
    await scene.confirm()
    scene.venue.failures = [refusal(418, "120")]
    scene.venue.socket.arrive("ending")
    await scene.time.pass_(110)
    assert scene.venue.attempts == 2
    status = scene.runner.status
    assert (status.state, status.detail) == ("streaming", "not renewed: refused with HTTP 418")
    await scene.time.pass_(15)
    assert scene.venue.attempts == 3
    scene.venue.socket.arrive("ok A", "ok B", "A 1")
    await scene.time.pass_(2)
    assert (status.renewals, status.detail) == (1, "")


async def test_attempts_to_connect_stay_within_the_venues_limit() -> None:
    class Limited(ConfirmingFeed):
        capabilities = replace(CAPABILITIES, attempts=10, attempts_window_s=60.0)

    scene = Scene(Limited())
    attempts: list[float] = []
    opened = scene.venue.open

    async def open_(url: str) -> ScriptedSocket:
        attempts.append(scene.time.now_s)
        return await opened(url)

    scene.runner._open = open_
    for _ in range(400):
        if scene.venue.sockets:
            scene.venue.socket.end(1001)
        await scene.time.pass_(1)
    assert len(attempts) > 30
    assert max(sum(since <= at < since + 60 for at in attempts) for since in attempts) <= 8
    await scene.end()


class ScriptedPoll:
    every_s = 1.0

    asked = 0

    async def ticks(self, symbols: Sequence[str], now_ms: Any) -> list[Tick]:
        self.asked += 1
        return [Tick(symbol, now_ms(), 2.0, kind="quote", producer_timestamp=now_ms()) for symbol in symbols]

    async def close(self) -> None: ...


async def test_a_poll_goes_on_beside_the_stream_and_proves_nothing_of_it() -> None:
    poll = ScriptedPoll()
    scene = Scene(poll=poll)
    await scene.time.pass_(9.5)
    assert poll.asked == 10
    assert {tick.kind for tick in scene.ticks} == {"quote"}
    await scene.time.pass_(5)
    assert len(scene.venue.sockets) == 2, "the subscription was not confirmed, whatever the poll says"
    await scene.end()
