"""The resting loop does everything, only less often."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from stockstream.cli import loop
from stockstream.cli.loop import resting_loop

REST_MS = 50.0


class Time:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=lambda: resting_loop(REST_MS)) as runner:
        yield runner


def test_what_comes_within_a_rest_is_seen_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    monkeypatch.setattr(loop, "time", clock)
    pairs = [socket.socketpair() for _ in range(3)]
    with closing(loop._RestingSelector(0.05)) as selector:
        for mine, _ in pairs:
            selector.register(mine, selectors.EVENT_READ)
        pairs[0][1].send(b"x")
        assert len(selector.select(None)) == 1
        assert clock.slept == []  # it had rested before
        pairs[1][1].send(b"x")
        clock.now_s += 0.01
        assert selector.select(0) == []
        pairs[2][1].send(b"x")
        assert len(selector.select(None)) == 3
        assert clock.slept == pytest.approx([0.04])
        clock.now_s += 0.06
        assert len(selector.select(0)) == 3
        assert len(clock.slept) == 1
    for mine, other in pairs:
        mine.close()
        other.close()


def test_a_timer_that_is_due_within_a_rest_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    monkeypatch.setattr(loop, "time", clock)
    with closing(loop._RestingSelector(0.05)) as selector:
        selector.select(0)
        assert selector.select(0.02) == []
        assert clock.slept == pytest.approx([0.02])


def test_timers_and_threads_are_served(runner: asyncio.Runner) -> None:
    async def run() -> str:
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return await asyncio.to_thread(lambda: "done")

    assert runner.run(run()) == "done"


def test_a_loop_that_always_has_something_to_do_still_hears_its_sockets(runner: asyncio.Runner) -> None:
    async def run() -> int:
        running = asyncio.get_running_loop()
        mine, other = socket.socketpair()
        mine.setblocking(False)
        heard = running.create_future()
        running.add_reader(mine, lambda: heard.done() or heard.set_result(mine.recv(1)))
        other.send(b"x")
        rounds, deadline_s = 0, time.monotonic() + 10
        while not heard.done() and time.monotonic() < deadline_s:
            rounds += 1
            await asyncio.sleep(0)
        running.remove_reader(mine)
        mine.close()
        other.close()
        assert heard.done()
        return rounds

    assert runner.run(run()) > 0
