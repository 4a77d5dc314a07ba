from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.candles import GONE_AFTER_S, TopicsAreThere
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
