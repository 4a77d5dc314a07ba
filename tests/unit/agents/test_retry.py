"""What fails for now is done again, and only that."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from aiokafka.errors import KafkaConnectionError

from stockstream.agents.retry import Retry
from stockstream.errors import SinkRefused, SinkUnreachable, StockstreamError


class Never(Random):
    def uniform(self, a: float, b: float) -> float:
        return 3_600.0


class AtOnce(Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


async def test_it_tells_what_is_wrong_until_it_is_right() -> None:
    retry = Retry(AtOnce())
    seen: list[dict[str, str]] = []
    outcomes: list[Exception | None] = [SinkUnreachable("away"), KafkaConnectionError("gone"), None]

    async def work() -> int:
        seen.append(dict(retry.troubles))
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return 42

    assert await retry.until_done("the sink", work) == 42
    assert seen == [{}, {"the sink": "away"}, {"the sink": "KafkaConnectionError: gone"}]
    assert (retry.troubles, retry.failures) == ({}, 2)


@pytest.mark.parametrize("error", [SinkRefused("no"), StockstreamError("no"), ValueError("no")])
async def test_what_does_not_pass_is_raised(error: Exception) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await Retry(AtOnce()).until_done("the sink", work)


async def test_a_shutdown_does_not_wait_for_the_next_attempt() -> None:
    retry = Retry(Never())
    attempts = 0
    failed = asyncio.Event()

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            failed.set()
            raise SinkUnreachable("away")

    waiting = asyncio.ensure_future(retry.until_done("the sink", work))
    await failed.wait()
    retry.hurry()
    await waiting
    assert attempts == 2


async def test_it_can_be_cancelled_in_the_moment_in_which_it_is_hurried() -> None:
    retry = Retry(Never())
    failed = asyncio.Event()

    async def work() -> None:
        failed.set()
        raise SinkUnreachable("away")

    waiting = asyncio.ensure_future(retry.until_done("the sink", work))
    await failed.wait()
    await asyncio.sleep(0)
    retry.hurry()
    waiting.cancel()
    _, pending = await asyncio.wait({waiting}, timeout=5)
    waiting.cancel()
    assert not pending
    assert waiting.cancelled()
