"""A made-up market: the same seed gives the same trades."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
PRE, REGULAR, POST = 0, 1, 2
"""Yahoo's ``market_hours``."""

ALWAYS = ((0, DAY_MS, REGULAR),)
_US = (
    (8 * _HOUR_MS, 13 * _HOUR_MS + _HOUR_MS // 2, PRE),
    (13 * _HOUR_MS + _HOUR_MS // 2, 20 * _HOUR_MS, REGULAR),
    (20 * _HOUR_MS, DAY_MS, POST),
)
_HALF_HOUR_MS = _HOUR_MS // 2
VIETNAM = ((4 * _HALF_HOUR_MS, 9 * _HALF_HOUR_MS, REGULAR), (12 * _HALF_HOUR_MS, 15 * _HALF_HOUR_MS, REGULAR))
_REAL_CRYPTO = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "DOGE-USD", "ADA-USD", "BTC-EUR", "LTC-USD")
_REAL_EQUITIES = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "BRK-B", "JPM", "F", "INTC", "AMD")
_VIETNAMESE = ("VCB.VN", "FPT.VN", "HPG.VN", "VNM.VN", "VIC.VN", "MWG.VN")
_INDICES = ("^GSPC", "^DJI", "^IXIC", "^VIX")
_FUTURES = ("ES=F", "NQ=F", "CL=F", "GC=F")
_QUIET_SHARE = 0.2
_OUT_OF_HOURS = 0.15
_PULL = 5e-5  # back to the usual price, of the distance to it at each trade: a free walk would end at zero
_VOLUME_PULL, _VOLUME_SPREAD = 1000, 1500  # the pull outweighs the spread before a rolling volume could reach zero


@dataclass(slots=True)
class Instrument:
    """A symbol and what its trading is like; ``hours`` are (from, to, market_hours) in ms of the UTC day.

    ``weight`` is its share of all trades. ``volume`` is cumulative over the UTC day, or of the last 24 hours where
    ``is_rolling``. ``last_ms`` and ``price`` are those of the last trade. What it begins with stays the ``usual_price``
    and, of a rolling volume, the ``usual_volume``.
    """

    symbol: str
    exchange: str
    quote_type: int
    decimals: int
    price: float
    weight: float
    hours: tuple[tuple[int, int, int], ...]
    currency: str = "USD"
    has_volume: bool = True
    is_rolling: bool = False
    volume: int = 0
    day: int = -1
    previous_close: float = 0.0
    last_ms: int = 0
    burst: int = 0
    usual_price: float = 0.0
    usual_volume: int = 0

    def session(self, at_ms: int) -> int | None:
        """The ``market_hours`` of a time, None while closed."""
        return session_at(self.hours, at_ms)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade: ``volume`` is what its instrument's volume came to with it."""

    symbol: str
    time_ms: int
    price: float
    size: int
    volume: int
    hours: int


@dataclass(slots=True)
class MarketClock:
    """Epoch ms that runs ``scale`` times as fast as real time, from ``start_ms``; ``steady_s`` is the real time."""

    start_ms: int
    scale: float = 1.0
    steady_s: Callable[[], float] = time.monotonic
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.steady_s()

    def __call__(self) -> int:
        """The time now."""
        return self.start_ms + int((self.steady_s() - self._began_s) * 1000 * self.scale)


def session_at(hours: tuple[tuple[int, int, int], ...], at_ms: int) -> int | None:
    """The ``market_hours`` of a time by the hours of an instrument, None while closed."""
    of_day = at_ms % DAY_MS
    is_weekend = (at_ms // DAY_MS + 3) % 7 >= 5
    if is_weekend and hours is not ALWAYS:
        return None
    return next((kind for start, end, kind in hours if start <= of_day < end), None)


def instruments(count: int = 300, *, always_open: bool = False) -> list[Instrument]:
    """US equities for the most part, some crypto pairs, a few Vietnamese shares, indices and futures.

    Every fifth is quiet. ``always_open``: nothing ever closes.
    """
    crypto = [*_REAL_CRYPTO, *(f"C{n:02d}-USD" for n in range(32))][: max(1, count // 8)]
    others = [*_VIETNAMESE, *_INDICES, *_FUTURES][: count // 10]
    equities = [*_REAL_EQUITIES, *(f"X{n:03d}" for n in range(count))][: count - len(crypto) - len(others)]
    listed = [_instrument(symbol, rank) for rank, symbol in enumerate(_dealt(equities, crypto, others))]
    if always_open:
        for each in listed:
            each.hours = ALWAYS
    return listed


def _dealt(*hands: list[str]) -> Iterator[str]:
    """One of each in turn, so that every kind has busy and quiet names."""
    for n in range(max(len(hand) for hand in hands)):
        yield from (hand[n] for hand in hands if n < len(hand))


def _instrument(symbol: str, rank: int) -> Instrument:
    is_quiet = rank % int(1 / _QUIET_SHARE) == 4 and symbol not in (*_REAL_EQUITIES, *_REAL_CRYPTO)
    weight = 0.006 if is_quiet else 1.0 / (1 + rank) ** 0.5
    price = float(20 + (rank * 37) % 400)
    if symbol.endswith(".VN"):
        return Instrument(symbol, "VSE", 8, 0, price * 1000, weight, VIETNAM, "VND")
    if symbol.startswith("^"):
        return Instrument(symbol, "SNP", 9, 2, price * 20, weight, _US[1:2], has_volume=False)
    if symbol.endswith("=F"):
        return Instrument(symbol, "CME", 18, 2, price * 10, weight, ALWAYS)
    if symbol.endswith(("-USD", "-EUR")):
        rolling = 10**9 * (1 + rank % 60)
        return Instrument(
            symbol, "CCC", 41, 2, price * 100, weight, ALWAYS, symbol[-3:], is_rolling=True, volume=rolling
        )
    return Instrument(symbol, "NYQ" if rank % 3 else "NMS", 8, 2, price, weight, _US)


class Market:
    """Trades of ``instruments`` in order of time, about ``trades_per_s`` of them while everything is open.

    It can run for months: prices and rolling volumes stay about what they usually are.
    """

    def __init__(
        self, listed: list[Instrument], start_ms: int, *, trades_per_s: float = 60.0, seed: int | str = 1
    ) -> None:
        self.instruments = {each.symbol: each for each in listed}
        self._rng = random.Random(seed)  # noqa: S311 - a game, no secret
        self._gap_ms = 1000 * sum(each.weight for each in listed) / trades_per_s
        self._due: list[tuple[float, str]] = []
        for each in listed:
            each.previous_close = each.usual_price = each.price
            each.usual_volume = each.volume
            each.last_ms = start_ms - self._rng.randrange(60_000, 3 * DAY_MS)
            heappush(self._due, (start_ms + self._wait_ms(each), each.symbol))

    def until(self, now_ms: int) -> Iterator[Trade]:
        """The trades that have happened up to ``now_ms`` and were not given yet."""
        while self._due[0][0] <= now_ms:
            due_ms, symbol = heappop(self._due)
            each = self.instruments[symbol]
            hours = each.session(int(due_ms))
            heappush(self._due, (due_ms + self._wait_ms(each), symbol))
            if hours is None or (hours != REGULAR and self._rng.random() > _OUT_OF_HOURS):
                continue
            yield self._trade(each, int(due_ms), hours)

    def _wait_ms(self, each: Instrument) -> float:
        """Until the next trade: bursts of ten times the pace now and then."""
        if each.burst > 0:
            each.burst -= 1
        elif self._rng.random() < 0.01:
            each.burst = self._rng.randrange(10, 40)
        mean_ms = self._gap_ms / each.weight / (10 if each.burst else 0.85)
        return self._rng.expovariate(1 / mean_ms)

    def _trade(self, each: Instrument, time_ms: int, hours: int) -> Trade:
        day = time_ms // DAY_MS
        if day != each.day:
            each.day = day
            each.previous_close = each.price
            if not each.is_rolling:
                each.volume = 0
        tick = 10.0**-each.decimals
        pull = (each.usual_price - each.price) / tick * _PULL
        step = round(self._rng.gauss(pull, max(2.0, each.price / tick * 0.0002)))
        each.price = max(tick, round(each.price + step * tick, each.decimals))
        size = 1 + int(self._rng.lognormvariate(4, 1))
        if each.is_rolling:
            spread = each.usual_volume // _VOLUME_SPREAD
            each.volume += (each.usual_volume - each.volume) // _VOLUME_PULL + self._rng.randint(-spread, spread)
        elif each.has_volume:
            each.volume += size
        each.last_ms = time_ms
        return Trade(each.symbol, time_ms, each.price, size, each.volume, hours)
