"""Prints that come late, at every stage of their candle, and by hand what must become of them and of the candles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick, Verdict

SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000
QUARTER = 15 * MINUTE
DAY_MS = 20_000 * DAY
NOON_MS = DAY_MS + DAY // 2
CLOSE_DELAY_MS, RETENTION_MS = 5 * MINUTE, 2 * DAY
KINDS = ("trade", "snapshot")
LATE_BY_S = (10, 600, 1200, 1860)
"""Within a feed's delay and beyond it, within what is accepted besides and beyond that."""
DELAYS_S = (0, 900)
STAGES = {
    "forming": (),
    "closed": (DAY_MS + DAY + 10 * MINUTE,),
    "evicted": tuple(DAY_MS + 5 * DAY + number * MINUTE for number in range(3)),
}
"""When the prints before the late one happened. Rows go once their closing, and what is kept of them, are committed."""
WINDOWS = {"minute": ("1m", NOON_MS), "next": ("1m", NOON_MS + MINUTE), "five": ("5m", NOON_MS), "day": ("1d", DAY_MS)}

Key = tuple[str, str, str, int]
Values = tuple[Any, ...]

_PLAIN: dict[tuple[str, str], Values] = {
    ("trade", "minute"): (10.0, 10.0, 10.0, 10.0, 1.0, 1),
    ("trade", "next"): (11.0, 11.0, 11.0, 11.0, 2.0, 1),
    ("trade", "five"): (10.0, 11.0, 10.0, 11.0, 3.0, 2),
    ("trade", "day"): (10.0, 11.0, 10.0, 11.0, 3.0, 2),
    ("snapshot", "minute"): (10.0, 10.0, 10.0, 10.0, 100.0, None),
    ("snapshot", "next"): (11.0, 11.0, 11.0, 11.0, 80.0, None),
    ("snapshot", "five"): (10.0, 11.0, 10.0, 11.0, 180.0, None),
    ("snapshot", "day"): (10.0, 11.0, 10.0, 11.0, 180.0, None),
}
"""Open, high, low, close, volume and trades of the candles without the late print."""

_CHANGED: dict[tuple[str, str], Values] = {
    ("trade", "minute"): (10.0, 50.0, 10.0, 50.0, 4.0, 2),
    ("trade", "five"): (10.0, 50.0, 10.0, 11.0, 6.0, 3),
    ("trade", "day"): (10.0, 50.0, 10.0, 11.0, 6.0, 3),
    ("snapshot", "minute"): (10.0, 50.0, 10.0, 50.0, 130.0, None),
    ("snapshot", "next"): (11.0, 11.0, 11.0, 11.0, 50.0, None),
    ("snapshot", "five"): (10.0, 50.0, 10.0, 11.0, 180.0, None),
    ("snapshot", "day"): (10.0, 50.0, 10.0, 11.0, 180.0, None),
}
"""Those that it changes where it counts: it is the newest of its minute and of no other window."""


@dataclass(frozen=True, slots=True)
class Case:
    """A print of some kind, received so long after it happened, when its candle had come so far, from such a feed."""

    kind: str
    stage: str
    delay_s: int
    late_s: int

    @property
    def symbol(self) -> str:
        return f"{self.kind}.{self.stage}.{self.delay_s}.{self.late_s}".upper()

    @property
    def exchange(self) -> str:
        """Its clock's: what ends the candles of one stage leaves those of another alone."""
        return exchange_of(self.stage, self.delay_s)

    @property
    def verdict(self) -> Verdict:
        if self.late_s > 900 + self.delay_s:
            return Verdict.LATE
        return Verdict.EXPIRED if self.stage == "evicted" else Verdict.ACCEPTED

    def key(self, window: str) -> Key:
        interval, start_ms = WINDOWS[window]
        return self.symbol, interval, "regular", start_ms

    def counted(self, window: str) -> Values:
        """The values of a candle with the late print in it."""
        return _CHANGED.get((self.kind, window), _PLAIN[self.kind, window])

    def is_changed(self, window: str) -> bool:
        """Whether the late print changes a candle."""
        return self.verdict is Verdict.ACCEPTED and (self.kind, window) in _CHANGED

    def values(self, window: str) -> Values:
        """The values of a candle in the end."""
        return self.counted(window) if self.is_changed(window) else _PLAIN[self.kind, window]

    def states(self, window: str) -> list[str]:
        """Through which states a candle goes."""
        if self.stage == "forming":
            return ["forming"]
        return ["forming", "closed", *(["amended"] if self.is_changed(window) else [])]

    def steps(self) -> list[list[Tick]]:
        """Subscribed before the date began, a print at noon, and one in the next minute; what ends those; the late one.

        Each step is to be committed before the next.
        """
        late = self._print(NOON_MS + 40 * SECOND, 50.0, 3, 130)
        return [
            [
                Tick(self.symbol, DAY_MS - MINUTE, kind="start", exchange=self.exchange),
                self._print(NOON_MS + 10 * SECOND, 10.0, 1, 100),
                self._print(NOON_MS + 70 * SECOND, 11.0, 2, 180),
            ],
            *([self._print(at_ms, 12.0, number, number)] for number, at_ms in enumerate(STAGES[self.stage], 4)),
            [replace(late, producer_timestamp=late.event_time + self.late_s * SECOND)],
        ]

    def log(self) -> list[Tick]:
        """All of them, the late one last."""
        return [tick for step in self.steps() for tick in step]

    def _print(self, event_ms: int, price: float, number: int, volume: int) -> Tick:
        """A trade of ``number``, or a snapshot with a cumulative ``volume``."""
        tick = Tick(self.symbol, event_ms, price, exchange=self.exchange, producer_timestamp=event_ms)
        if self.kind == "snapshot":
            return replace(tick, day_volume=volume, kind="snapshot")
        return replace(tick, last_size=float(number), trade_id=number)


CASES = [Case(*each) for each in product(KINDS, STAGES, DELAYS_S, LATE_BY_S)]


def exchange_of(stage: str, delay_s: int) -> str:
    return f"{stage}-{delay_s}"


def feed_delays_s() -> dict[str, int]:
    return {exchange_of(stage, delay_s): delay_s for stage, delay_s in product(STAGES, DELAYS_S) if delay_s}


def policy() -> Policy:
    delays_ms = {exchange: delay_s * SECOND for exchange, delay_s in feed_delays_s().items()}
    return Policy(accepted_lateness_ms=QUARTER, feed_delay_ms=delays_ms)


def values_of(candle: Candle) -> Values:
    return (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades)
