from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scripted import Time

from stockstream.sources.limits import Pace, Window, retry_after_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("9" * 400, 259_200.0),
        *[(each, None) for each in (None, "", "nan", "-1", "inf", "²", "Wed, 21 Oct 2026 07:28:00 GMT")],
    ],
)
def test_retry_after_is_seconds_or_nothing(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


async def begun(time: Time, limit: Any, turns: int) -> list[float]:
    """When each of many turns that are asked for at once begins."""
    times: list[float] = []

    async def take() -> None:
        await limit.turn()
        times.append(round(time.now_s, 6))

    tasks = [asyncio.create_task(take()) for _ in range(turns)]
    await time.pass_(1000)
    await asyncio.gather(*tasks)
    return times


async def test_turns_in_any_window_stay_below_the_limit() -> None:
    time = Time()
    times = await begun(time, Window(10, 60, steady_s=time.steady_s, sleep=time.sleep), 30)
    assert len(times) == 30
    assert times[:8] == [0.0] * 8
    assert max(sum(since <= at < since + 60 for at in times) for since in times) == 8


async def test_what_has_no_limit_waits_for_nothing() -> None:
    time = Time()
    assert await begun(time, Window(None, 60, steady_s=time.steady_s, sleep=time.sleep), 50) == [0.0] * 50
    assert await begun(time, Pace(0.0, steady_s=time.steady_s, sleep=time.sleep), 5) == [1000.0] * 5


async def test_a_pace_spaces_turns() -> None:
    time = Time()
    assert await begun(time, Pace(0.5, steady_s=time.steady_s, sleep=time.sleep), 4) == [0.0, 0.5, 1.0, 1.5]


async def test_whoever_shares_an_address_is_held_back_together() -> None:
    time = Time()
    window = Window(100, 60, steady_s=time.steady_s, sleep=time.sleep)
    window.hold(30)
    turns = [asyncio.create_task(window.turn()) for _ in range(2)]
    await time.pass_(29)
    assert not any(turn.done() for turn in turns)
    await time.pass_(2)
    assert all(turn.done() for turn in turns)
