from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from scripted import Time

from stockstream.errors import RequestFailed
from stockstream.models import Tick
from stockstream.sources.polling import Poller
from stockstream.sources.status import Status, SymbolStatus


class FailingPoll:
    every_s = 1.0

    def __init__(self, *failures: RequestFailed) -> None:
        self.asked, self.failures = 0, list(failures)

    async def ticks(self, symbols: Sequence[str], now_ms: Callable[[], int]) -> list[Tick]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return [Tick(symbol, now_ms(), 2.0, kind="quote") for symbol in symbols]

    async def close(self) -> None: ...


async def test_a_poll_that_fails_is_visible_and_asked_as_the_venue_wishes() -> None:
    time, status, taken = Time(), Status(symbols={"A": SymbolStatus()}), []
    poll = FailingPoll(
        RequestFailed("too many requests", retry_after_s=50.0),
        RequestFailed("away"),
        RequestFailed("banned", is_fatal=True),
    )

    async def emit(ticks: Sequence[Tick]) -> None:
        taken.extend(ticks)

    task = asyncio.create_task(Poller(poll, status, emit, time.now_ms, time.sleep).run("venue"))
    await time.pass_(49)
    assert (poll.asked, status.poll) == (1, "too many requests")
    await time.pass_(2)
    assert (poll.asked, status.poll) == (2, "away")
    await time.pass_(5)
    assert (poll.asked, status.poll) == (3, "banned")
    await time.pass_(290)
    assert (poll.asked, taken) == (3, [])
    await time.pass_(15)
    assert (poll.asked > 3, status.poll) == (True, "")
    assert {tick.symbol for tick in taken} == {"A"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_asked_for_without_symbols() -> None:
    time, poll = Time(), FailingPoll()

    async def emit(ticks: Sequence[Tick]) -> None:
        raise AssertionError("nothing was asked for")

    task = asyncio.create_task(Poller(poll, Status(), emit, time.now_ms, time.sleep).run("venue"))
    await time.pass_(10)
    assert poll.asked == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
