from __future__ import annotations

import logging

import pytest

from stockstream.broker.kept import Left, RetentionWatch
from stockstream.errors import BrokerUnreachable

DAY_S = 86_400.0


class Looks:
    """Finds one after the other."""

    def __init__(self, *found: Left | Exception) -> None:
        self._found = list(found)

    async def __call__(self) -> Left:
        found = self._found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def left(days: float) -> Left:
    return {("g", "candles"): (days * DAY_S, 7 * DAY_S), ("g", "ticks"): (7 * DAY_S, 7 * DAY_S)}


async def test_it_is_said_once_when_half_of_the_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stockstream.broker.kept")
    watch = RetentionWatch(Looks(left(3.6), left(3.4), left(1), left(7)))
    said = []
    for _ in range(4):
        await watch.look()
        said.append(watch.degraded)
    told = "what group g has not read of topic candles is deleted in "
    assert said == [None, f"{told}3.4 days", f"{told}24.0 hours", None]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "raise the topic's retention.ms" in caplog.text


async def test_what_was_found_stands_while_brokers_do_not_answer() -> None:
    watch = RetentionWatch(Looks(left(0.001), BrokerUnreachable("nobody")))
    await watch.look()
    await watch.look()
    assert watch.degraded == "what group g has not read of topic candles is deleted in 86 s"
