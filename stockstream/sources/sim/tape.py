"""Every trade of a simulated symbol, past and future: a pure function of seed, symbol and time.

So whoever asks sees the same trades with the same ids: two workers at a hand-over, one that was started again, and who
asks later for what was missed. Time is cut into slots with the same number of trades in each. What happens within one
is `Market`'s: bursts and pauses, steps, sizes; the walk is bent so that it begins and ends at prices which slots agree
on, and those wander by what is left of noise of a day, an hour and so on down to a slot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import exp
from typing import NamedTuple

from stockstream.sources.market import ALWAYS, Instrument, Market
from stockstream.sources.sim.options import Options

SLOT_MS = 10_000
DECIMALS = 2

_NOISE = ((8640, 0.02), (360, 0.004), (60, 0.0017), (6, 0.0005), (1, 0.0002))
"""(slots, spread): about what a share moves in a day, an hour, ten minutes, one, and a slot."""
_FOREVER_MS = 1 << 62
_SECOND_TIME_MS = 2000
_MOST_LOST = 20


class Trade(NamedTuple):
    """One trade; ids of a symbol have no holes."""

    symbol: str
    trade_id: int
    time_ms: int
    price: float
    size: float


class Tape:
    """The trades of one symbol."""

    def __init__(self, symbol: str, options: Options) -> None:
        self.symbol, self._options = symbol, options
        self._count = max(1, round(options.ticks_per_s * SLOT_MS / 1000))
        self._noise = lru_cache(4 * len(_NOISE))(self._drawn)
        self._base = self._random("base").uniform(20, 400)

    def slot(self, number: int) -> list[Trade]:
        """The trades of ``[number, number + 1) × SLOT_MS``, in order of time and id."""
        start_ms = number * SLOT_MS
        begin, end = self._level(number), self._level(number + 1)
        instrument = Instrument(self.symbol, "SIM", 8, DECIMALS, begin, 1.0, ALWAYS)
        market = Market(
            [instrument], start_ms, trades_per_s=self._options.ticks_per_s, seed=self._name("slot", str(number))
        )
        *walk, after = islice(market.until(_FOREVER_MS), self._count + 1)
        stretch = SLOT_MS / max(1, after.time_ms - start_ms)
        bend = (end - walk[-1].price) / self._count
        return [
            Trade(
                self.symbol,
                number * self._count + place,
                start_ms + min(SLOT_MS - 1, int((trade.time_ms - start_ms) * stretch)),
                max(10.0**-DECIMALS, round(trade.price + bend * (place + 1), DECIMALS)),
                float(trade.size),
            )
            for place, trade in enumerate(walk)
        ]

    def arrivals(self, number: int) -> Iterator[tuple[int, Trade]]:
        """The trades of a slot with the times (ms) at which they arrive: some twice, some never, if luck is bad."""
        options = self._options
        if not options.has_bad_luck:
            yield from ((trade.time_ms, trade) for trade in self.slot(number))
            return
        luck, lost = self._random("luck", str(number)), 0
        for trade in self.slot(number):
            if luck.random() < options.id_jumps:
                lost = luck.randint(1, _MOST_LOST)
            if lost:
                lost -= 1
                continue
            at_ms = trade.time_ms + luck.randint(0, options.disorder_ms)
            if luck.random() < options.late:
                at_ms = trade.time_ms + options.late_s * 1000
            yield at_ms, trade
            if luck.random() < options.duplicates:
                yield at_ms + luck.randint(0, _SECOND_TIME_MS), trade

    def _level(self, number: int) -> float:
        """The price with which a slot begins."""
        moved = 0.0
        for slots, spread in _NOISE:
            step, rest = divmod(number, slots)
            before, behind = self._noise(slots, step), self._noise(slots, step + 1)
            moved += spread * (before + (behind - before) * rest / slots)
        return self._base * exp(moved)

    def _drawn(self, slots: int, step: int) -> float:
        return self._random(str(slots), str(step)).gauss(0, 1)

    def _random(self, *names: str) -> random.Random:
        return random.Random(self._name(*names))  # noqa: S311 - a game, no secret

    def _name(self, *names: str) -> str:
        return "/".join((str(self._options.seed), self.symbol, *names))
