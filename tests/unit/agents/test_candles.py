from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.candles import GONE_AFTER_S, TopicsAreThere, attach
from stockstream.errors import TopicMismatch


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def app_with(counts: dict[str, int | None]) -> Any:
    consumer = SimpleNamespace(
        key_partition=lambda topic, key: None if counts.get(topic) is None else 0, open_generation=1, assignment=set
    )
    recovery = SimpleNamespace(in_recovery=False)
    return SimpleNamespace(
        consumer=consumer, consumer_generation_id=1, rebalancing=False, tables=SimpleNamespace(recovery=recovery)
    )


def test_a_topic_that_is_gone_for_good_ends_the_work() -> None:
    counts: dict[str, int | None] = {"one": 4, "two": 4}
    clock = Clock()
    look = TopicsAreThere(app_with(counts), ["one", "two"], clock)
    look()
    counts["two"] = None
    look()
    clock.now_s = GONE_AFTER_S
    look()
    clock.now_s += 0.1
    with pytest.raises(TopicMismatch, match=r"topic two has been deleted.*STOCKSTREAM_EPOCH"):
        look()


def test_a_topic_may_be_away_for_a_moment() -> None:
    counts: dict[str, int | None] = {"one": 4}
    clock = Clock()
    look = TopicsAreThere(app_with(counts), ["one"], clock)
    for _ in range(3):
        counts["one"] = None
        look()
        clock.now_s += GONE_AFTER_S
        counts["one"] = 4
        look()
        clock.now_s += GONE_AFTER_S


def test_nothing_is_missed_before_the_group_has_given_its_partitions() -> None:
    app, clock = app_with({}), Clock()
    app.consumer_generation_id = 0
    look = TopicsAreThere(app, ["one"], clock)
    for _ in range(3):
        look()
        clock.now_s += 2 * GONE_AFTER_S


class AppToAttachTo:
    """Keeps the task that closes windows; nobody waits in it."""

    def __init__(self) -> None:
        self.should_stop = False
        self.on_sleep: Callable[[], None] = lambda: None
        self.on_partitions_revoked = self.on_partitions_assigned = SimpleNamespace(connect=lambda handler: handler)
        self.close_quiet: Callable[[], Awaitable[None]]
        self.consumer = SimpleNamespace(key_partition=lambda topic, key: 0)

    def agent(self, topic: Any, name: str) -> Callable[[Any], Any]:
        return lambda function: function

    def task(self, function: Any) -> Any:
        self.close_quiet = function
        return function

    async def sleep(self, seconds: float) -> None:
        self.on_sleep()


class Closing:
    def __init__(self, app: AppToAttachTo, stops_meanwhile: bool) -> None:
        self.calls, self._app, self._stops_meanwhile = 0, app, stops_meanwhile

    async def close_due(self) -> None:
        self.calls += 1
        self._app.should_stop = self._stops_meanwhile
        raise RuntimeError("Event loop is closed")


def attached(stops_meanwhile: bool) -> tuple[AppToAttachTo, Closing, list[BaseException]]:
    app, failures = AppToAttachTo(), list[BaseException]()

    async def fail(error: BaseException) -> None:
        failures.append(error)

    closing: Any = Closing(app, stops_meanwhile)
    attach(app, SimpleNamespace(topics=["one"]), closing, fail)
    return app, closing, failures


async def test_a_worker_that_stops_asks_nobody_which_windows_are_due() -> None:
    app, closing, failures = attached(stops_meanwhile=False)
    app.on_sleep = lambda: setattr(app, "should_stop", True)
    await app.close_quiet()
    assert (closing.calls, failures) == (0, [])


async def test_a_stop_in_the_middle_of_closing_is_no_failure() -> None:
    app, closing, failures = attached(stops_meanwhile=True)
    await app.close_quiet()
    assert (closing.calls, failures) == (1, [])


async def test_any_other_error_in_closing_is_one() -> None:
    app, closing, failures = attached(stops_meanwhile=False)
    with pytest.raises(RuntimeError, match="closed"):
        await app.close_quiet()
    assert (closing.calls, len(failures)) == (1, 1)
