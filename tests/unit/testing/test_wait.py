from __future__ import annotations

import pytest

from stockstream.testing.wait import wait_until, wait_until_async


def test_returns_when_the_condition_holds() -> None:
    answers = iter([False, 0, None, "yes"])
    wait_until(lambda: next(answers), 10, "an answer")
    assert next(answers, "none left") == "none left"


def test_says_what_was_awaited_and_seen() -> None:
    with pytest.raises(TimeoutError, match="three rows; last answer: 0"):
        wait_until(lambda: 0, 0.01, "three rows")


def test_asks_once_even_without_time() -> None:
    wait_until(lambda: True, 0, "nothing")


async def test_async_takes_plain_and_coroutine_functions() -> None:
    answers = iter([False, True])

    async def answer() -> bool:
        return next(answers)

    await wait_until_async(answer, 10, "an answer")
    await wait_until_async(lambda: True, 10, "an answer")
    with pytest.raises(TimeoutError, match="an answer; last answer: None"):
        await wait_until_async(lambda: None, 0.01, "an answer")
