"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.02


def wait_until(predicate: Callable[[], object], timeout_s: float, what: str) -> None:
    """Call ``predicate`` until its answer is true.

    Raises:
        TimeoutError: none was within ``timeout_s``; the message names ``what`` and holds the last answer.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := predicate()):
        if time.monotonic() >= deadline:
            raise TimeoutError(_too_late(what, timeout_s, answer))
        time.sleep(_POLL_S)


async def wait_until_async(
    predicate: Callable[[], object] | Callable[[], Awaitable[object]], timeout_s: float, what: str
) -> None:
    """As ``wait_until``, without blocking the event loop; ``predicate`` may be a coroutine function.

    Raises:
        TimeoutError: no answer was true within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() >= deadline:
            raise TimeoutError(_too_late(what, timeout_s, answer))
        await asyncio.sleep(_POLL_S)


def _too_late(what: str, timeout_s: float, answer: object) -> str:
    return f"waited {timeout_s:g} s for {what}; last answer: {answer!r}"
