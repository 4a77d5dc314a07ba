"""Days of a venue in seconds: all of its faults, in an order by a seed, and the judge of what lies in the topic."""

from __future__ import annotations

import asyncio
import os
import random
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from market_topic import MarketTopic, controls
from reference import reference_candles

from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import Tick
from stockstream.sources.contract import Feed, Poll
from stockstream.sources.limits import attempts_of
from stockstream.sources.runner import ConnectionRunner, Timing
from stockstream.testing.wait import wait_until_async

DAY_MS = 86_400_000
SEEDS = range(1, 21) if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else range(1, 2)
QUICK = Timing(
    backoff_base_s=0.05, backoff_cap_s=0.4, watch_every_s=0.05, fatal_retry_s=0.3, quiet_s=2.0, renew_within_s=5.0
)
PATIENCE_S = 60
EFFECT_S, EFFECTIVE_AFTER_S = 0.4, 1.5
"""How long a command of a venue that does not confirm takes to have an effect, and when its feed says that it has."""
_UNDER_WAY_S = 1.5  # what is sent may take so long until it is read: a busy machine is slow
_BATCH = 97

Identity = tuple[Any, ...]
"""What tells one tick of a symbol from another, its market's time (epoch ms) first."""


@dataclass(slots=True)
class DayClock:
    """A market's time, epoch ms: it runs ``scale`` times as fast as the clock, while closed ``closed_scale`` times."""

    start_ms: int
    scale: float
    closed_scale: float = 0.0
    is_open: Callable[[int], bool] = lambda _: True
    _ms: list[float] = field(default_factory=list)
    _s: list[float] = field(default_factory=list)

    def __call__(self) -> int:
        now_s = time.monotonic()
        if not self._ms:
            self._ms.append(float(self.start_ms))
        else:
            scale = self.scale if self.is_open(int(self._ms[-1])) else self.closed_scale
            self._ms.append(self._ms[-1] + 1000 * scale * (now_s - self._s[-1]))
        self._s.append(now_s)
        return int(self._ms[-1])

    def steady_s(self, market_ms: int) -> float:
        """When it was so late."""
        return self._s[max(0, bisect_right(self._ms, market_ms) - 1)]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a venue does to its connections; ``cause`` is that of the hole which it leaves, None if it leaves none."""

    cause: str | None
    strike: Callable[[], Awaitable[object]]


class Venue(ABC):
    """One venue's fake and what the scenario has to know of it.

    ``watched`` are the symbols of each connection. What is missing may lie ``behind_s`` behind the end of its hole.
    """

    fake: Any
    clock: DayClock
    watched: list[list[str]]
    poll: Poll | None = None
    behind_s = 0.1

    @abstractmethod
    def feed(self) -> Feed:
        """A feed of the fake, as impatient as the scenario is short."""

    @abstractmethod
    def faults(self, days: Days) -> list[Fault]:
        """All that it can do, once each."""

    @abstractmethod
    def made(self) -> dict[str, list[Identity]]:
        """What happened to each symbol, sent or not, in its order."""

    @abstractmethod
    def acknowledged(self) -> Iterator[tuple[str, Identity]]:
        """The (symbol, identity) of all that was sent on connections which both sides have closed in good order."""

    @abstractmethod
    def identity(self, tick: Tick) -> Identity | None:
        """That of a tick which is of the market, None of any other."""

    @abstractmethod
    def rubbish(self) -> int:
        """How many frames of no use were sent."""


class Days:
    """A venue, and runners that read it into a topic of their own; a context."""

    def __init__(self, venue: Venue, topic: MarketTopic) -> None:
        self.venue, self.topic = venue, topic
        self.runners: list[ConnectionRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._connections = 1
        self.stopped_s = 0.0

    async def __aenter__(self) -> Days:
        feeds = [self.venue.feed() for _ in self.venue.watched]
        attempts = attempts_of(feeds[0].capabilities)
        for number, (feed, symbols) in enumerate(zip(feeds, self.venue.watched, strict=True)):
            runner = ConnectionRunner(
                feed,
                symbols,
                self.topic.producer.send,
                now_ms=self.venue.clock,
                offer=None if number else self.topic.producer.offer,
                timing=QUICK,
                attempts=attempts,
                poll=self.venue.poll,
            )
            self.runners.append(runner)
            self._tasks.append(asyncio.create_task(runner.run()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def live_through(self, seed: int) -> list[str | None]:
        """Every fault of the venue once, by seed in another order; the causes that each symbol's records must have."""
        rng = random.Random(seed)
        faults = self.venue.faults(self)
        rng.shuffle(faults)
        await self.until_streaming()
        for fault in faults:
            await fault.strike()
            self._connections += fault.cause is not None
            await self.until_streaming(rng.randint(15, 50))
        return [None, *(fault.cause for fault in faults if fault.cause is not None)]

    async def until_streaming(self, more: int = 50) -> None:
        """Until each runner has had its connections, renewed ones apart, and so many more frames on the last one."""

        def are_served() -> bool:
            return all(
                runner.status.state == "streaming" and runner.status.connections >= self._connections
                for runner in self.runners
            )

        await wait_until_async(are_served, PATIENCE_S, f"{self._connections} connections of each")
        await self.until_traded(more)

    async def until_traded(self, more: int) -> None:
        wanted = {id(runner): runner.status.frames + more for runner in self.runners}
        await wait_until_async(
            lambda: all(runner.status.frames >= wanted[id(runner)] for runner in self.runners), PATIENCE_S, "trades"
        )

    async def until_refused(self, words: str) -> None:
        """Until each runner has been seen to be refused with these words, though it may try again."""
        seen: set[int] = set()

        def were_all() -> bool:
            seen.update(id(runner) for runner in self.runners if words in runner.status.detail)
            return len(seen) == len(self.runners)

        await wait_until_async(were_all, PATIENCE_S, f"{words} to be seen")

    async def stop(self) -> list[Tick]:
        """Stop in good order; all that lies in the topic, a partition after the other."""
        self.stopped_s = time.monotonic()
        await asyncio.gather(*(runner.stop() for runner in self.runners))
        await asyncio.wait_for(asyncio.gather(*self._tasks), 30)
        return await self.topic.finish()


def assert_no_tick_is_missing(days: Days, ticks: Sequence[Tick], causes: Sequence[str | None]) -> None:
    """What was delivered before an acknowledged close is there, counts once, and every hole is told, and no other."""
    venue = days.venue
    logs: dict[str, list[tuple[Tick, Identity | None]]] = defaultdict(list)
    for tick in ticks:
        logs[tick.symbol].append((tick, venue.identity(tick)))
    made = venue.made()
    received = {symbol: {identity for _, identity in log if identity is not None} for symbol, log in logs.items()}
    for symbol, identities in received.items():
        assert identities <= set(made[symbol]), "nothing is there that did not happen"

    acknowledged = list(venue.acknowledged())
    lost = [(symbol, identity) for symbol, identity in acknowledged if identity not in received[symbol]]
    assert not lost, f"{len(lost)} of {len(acknowledged)}, as {lost[:3]}"
    assert len(acknowledged) > 100

    missing = 0
    for symbol, log in logs.items():
        connections = sum(symbol in watched for watched in venue.watched)
        told = [cause for _, cause in controls([tick for tick, _ in log])[symbol]]
        if connections == 1:
            assert told == causes, "each fault leaves a hole, and nothing else does"
        else:
            assert sorted(map(str, told)) == sorted(map(str, connections * list(causes)))
        missing += _told_missing(days, made[symbol], log)
    assert missing > 20, "something must have been lost for anything to be shown"
    assert sum(runner.status.bad_frames for runner in days.runners) == venue.rubbish() > 5
    _assert_candles_count_each_once(ticks, logs)


def _told_missing(days: Days, made: Sequence[Identity], log: Sequence[tuple[Tick, Identity | None]]) -> int:
    """How many did not come, from the start to the stop; each lies in a hole, by its time and between what came."""
    steady_s = days.venue.clock.steady_s
    places = {identity: place for place, identity in reversed(list(enumerate(made)))}
    came = [-1 if identity is None else places[identity] for _, identity in log]
    before = list(accumulate(came, max))
    after = list(accumulate((place if place >= 0 else len(made) for place in reversed(came)), min))[::-1]
    holes = [
        (before[at], after[at], steady_s(tick.event_time), steady_s(tick.until))
        for at, (tick, _) in enumerate(log)
        if tick.kind == "gap" and tick.until is not None
    ]
    seen = {place for place in came if place >= 0}
    first, last = min(seen, default=len(made)), max(seen, default=-1)
    since_s = steady_s(next(tick.event_time for tick, _ in log if tick.kind == "start")) + _UNDER_WAY_S
    until_s = days.stopped_s - _UNDER_WAY_S
    missing = 0
    for identity, place in places.items():
        at_s = steady_s(identity[0])
        if place in seen or not (first < place < last or since_s < at_s < until_s):
            continue
        missing += 1
        assert any(
            low < place < high and from_s - _UNDER_WAY_S <= at_s <= to_s + days.venue.behind_s
            for low, high, from_s, to_s in holes
        ), f"{identity} is missing, and no hole tells of it: {holes}"
    return missing


def _assert_candles_count_each_once(ticks: Sequence[Tick], logs: dict[str, list[tuple[Tick, Identity | None]]]) -> None:
    """The candles of the topic are those of its ticks without copies, worked out another way."""
    engine = OfflineEngine(Policy(accepted_lateness_ms=None, future_tolerance_ms=DAY_MS))
    for first in range(0, len(ticks), _BATCH):
        engine.add(ticks[first : first + _BATCH])
    engine.finish()
    once: list[Tick] = []
    for log in logs.values():
        seen: set[Identity] = set()
        for tick, identity in log:
            if identity is None or identity not in seen:
                once.append(tick)
            seen.update(() if identity is None else (identity,))
    expected = reference_candles(enumerate(once))
    found = {each.key: each for interval in ("1m", "5m", "1d") for each, _ in engine.candles(interval)}
    assert found.keys() == expected.keys()
    for key, right in expected.items():
        each = found[key]
        assert (each.open, each.high, each.low, each.close) == (right.open, right.high, right.low, right.close), key
        volume = None if right.volume is None else float(right.volume)
        assert (each.volume, each.trades) == (volume, right.trades), key
        assert (each.partial, each.gap) == (right.partial, right.gap), key
