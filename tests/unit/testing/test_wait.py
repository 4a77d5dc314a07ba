from __future__ import annotations

import pytest

from stockstream.testing.wait import _rest_s, wait_until, wait_until_async


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


@pytest.mark.parametrize(("asking_s", "left_s", "rest_s"), [(0, 9, 0.02), (0.1, 9, 0.4), (3, 9, 1), (3, 0.5, 0.5)])
def test_rests_longer_after_an_answer_that_took_long_but_not_beyond_the_deadline(
    asking_s: float, left_s: float, rest_s: float
) -> None:
    assert _rest_s(asking_s, left_s) == rest_s
