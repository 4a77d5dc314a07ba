"""A made-up market whose trades are numbered one by one, as Binance numbers them: the same seed, the same trades."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FIRST_ID = 1_000
_MOST_FILLS = 4


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade; price and quantity are decimal strings. ``order`` is shared by the fills of one taker's order."""

    symbol: str
    trade_id: int
    time_ms: int
    price: str
    quantity: str
    is_buyer_maker: bool
    order: int


@dataclass(slots=True)
class Tape:
    """All trades of ``symbols`` (Binance's own names) since ``start_ms``, made as far as they were asked for."""

    symbols: Sequence[str]
    start_ms: int
    trades_per_s: float
    seed: int = 1
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    _rng: random.Random = field(init=False)
    _next_ms: float = field(init=False)
    _cents: dict[str, int] = field(init=False)
    _orders: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - made up, but the same each time
        self.trades = {symbol: [] for symbol in self.symbols}
        self._cents = {symbol: 1_000_000 + 1000 * place for place, symbol in enumerate(self.symbols)}
        self._next_ms = float(self.start_ms)

    def until(self, now_ms: int) -> Iterator[Trade]:
        """The trades that have happened since this was last asked, up to ``now_ms``."""
        rng = self._rng
        while self._next_ms <= now_ms:
            symbol = rng.choice(self.symbols)
            self._orders += 1
            is_buyer_maker, time_ms = rng.random() < 0.5, int(self._next_ms)
            cents = self._cents[symbol] = max(1000, self._cents[symbol] + rng.randint(-50, 50))
            for _ in range(rng.randint(1, _MOST_FILLS)):
                made = self.trades[symbol]
                quantity = f"{rng.randint(1, 5_000_000) / 1e5:.5f}000"
                trade = Trade(
                    symbol, FIRST_ID + len(made), time_ms, f"{cents / 100:.8f}", quantity, is_buyer_maker, self._orders
                )
                made.append(trade)
                yield trade
            self._next_ms += rng.expovariate(self.trades_per_s) * 1000
