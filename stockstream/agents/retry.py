"""Doing again what fails for now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TypeVar

from aiokafka.errors import KafkaError

from stockstream.core.backoff import full_jitter
from stockstream.errors import Unreachable

T = TypeVar("T")
logger = logging.getLogger(__name__)

_BASE_S = 0.2
_CAP_S = 60.0
_HURRIED_CAP_S = 0.5


class Retry:
    """Repeats work that raises `Unreachable` or a Kafka error until it succeeds, waiting up to 60 s in between.

    ``troubles`` says for each ``what`` that fails right now why it does; ``failures`` counts attempts that failed.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._hurried = asyncio.Event()
        self.troubles: dict[str, str] = {}
        self.failures = 0

    def hurry(self) -> None:
        """From now on wait half a second at most: there is a deadline."""
        self._hurried.set()

    async def until_done(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` returns, however long that takes; ``what`` names it in the log and in ``troubles``."""
        for delay_s in full_jitter(_BASE_S, _CAP_S, self._rng):
            try:
                result = await work()
            except (Unreachable, KafkaError) as error:
                self.failures += 1
                if what not in self.troubles:
                    logger.warning("%s waits: %s", what, error)
                self.troubles[what] = str(error)
            else:
                if self.troubles.pop(what, None) is not None:
                    logger.info("%s goes on", what)
                return result
            await self._wait(delay_s)
        raise AssertionError("delays are endless")

    async def _wait(self, delay_s: float) -> None:
        if self._hurried.is_set():
            await asyncio.sleep(min(delay_s, _HURRIED_CAP_S))
            return
        # Not wait_for: in Python 3.11 it takes a cancellation for itself when the event was set just before.
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurried.wait()
