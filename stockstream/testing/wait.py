"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_POLL_S, _GREATEST_POLL_S = 0.02, 1.0
_RESTS = 4  # times as long as the asking took: it may be work, here and for who answers


def wait_until(predicate: Callable[[], object], timeout_s: float, what: str) -> None:
    """Call ``predicate`` until its answer is true, less often the longer it takes.

    Raises:
        TimeoutError: none was within ``timeout_s``; the message names ``what`` and holds the last answer.
    """
    asked = time.monotonic()
    deadline = asked + timeout_s
    while not (answer := predicate()):
        answered = time.monotonic()
        if answered >= deadline:
            raise TimeoutError(_too_late(what, timeout_s, answer))
        time.sleep(_rest_s(answered - asked, deadline - answered))
        asked = time.monotonic()


async def wait_until_async(
    predicate: Callable[[], object] | Callable[[], Awaitable[object]], timeout_s: float, what: str
) -> None:
    """As ``wait_until``, without blocking the event loop; ``predicate`` may be a coroutine function.

    Raises:
        TimeoutError: no answer was true within ``timeout_s``.
    """
    asked = time.monotonic()
    deadline = asked + timeout_s
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        answered = time.monotonic()
        if answered >= deadline:
            raise TimeoutError(_too_late(what, timeout_s, answer))
        await asyncio.sleep(_rest_s(answered - asked, deadline - answered))
        asked = time.monotonic()


def _rest_s(asking_s: float, left_s: float) -> float:
    return min(max(_POLL_S, _RESTS * asking_s), _GREATEST_POLL_S, left_s)


def _too_late(what: str, timeout_s: float, answer: object) -> str:
    return f"waited {timeout_s:g} s for {what}; last answer: {answer!r}"
