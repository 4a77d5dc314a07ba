"""The newest states of prices and candles, in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from stockstream.models import Candle, Latest

LATEST = "latest"
CANDLE = "candle"


@dataclass(slots=True)
class _Series:
    """Candles by the start of their window; ``starts`` ascend."""

    candles: dict[int, Candle] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)

    def add(self, candle: Candle) -> None:
        """Put in a window that is not held."""
        starts, start_ms = self.starts, candle.window_start
        if not starts or start_ms > starts[-1]:
            starts.append(start_ms)
        else:
            insort(starts, start_ms)
        self.candles[start_ms] = candle

    def let_go(self, history_ms: int) -> None:
        """Of the windows that are too old."""
        starts = self.starts
        oldest_end_ms = starts[-1] - history_ms
        if starts[0] >= oldest_end_ms:
            return
        for old_ms in starts[: bisect_left(starts, oldest_end_ms)]:
            if self.candles[old_ms].window_end < oldest_end_ms:
                del self.candles[old_ms]
                starts.remove(old_ms)


class Recent:
    """Latest prices, and per symbol, interval and session the candles of the last ``history_s``.

    A candle is kept while it ended at most ``history_s`` before the newest of its series begins; the newest itself
    always. Of two states of one candle or price the greater version stays, in whatever order they come.

    ``publish`` is called with every state that is taken in, after it is: with the key (`LATEST`, symbol) and a price,
    or None where it is dropped; with (`CANDLE`, symbol, interval, session, window_start) and a candle.
    """

    def __init__(self, history_s: float, publish: Callable[[tuple[Any, ...], Latest | Candle | None], None]) -> None:
        self.latest: dict[str, Latest] = {}
        self._publish = publish
        self._history_ms = int(history_s * 1000)
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._symbols: set[str] = set()

    @property
    def symbols(self) -> set[str]:
        """Every symbol of which a price or a candle is held."""
        return self.latest.keys() | self._symbols

    def candles(self, symbol: str, interval: str, session: str) -> list[Candle]:
        """The candles held, ascending by window; they are shared, so not to be changed."""
        series = self._series.get((symbol, interval, session))
        return [] if series is None else [series.candles[start_ms] for start_ms in series.starts]

    def put_latest(self, latest: Latest) -> None:
        """Take in a state of a latest price."""
        known = self.latest.get(latest.symbol)
        if known is None or latest.version > known.version:
            self.latest[latest.symbol] = latest
            self._publish((LATEST, latest.symbol), latest)

    def drop_latest(self, symbol: str) -> None:
        """Forget a symbol's latest price, as a null record in its topic demands."""
        if self.latest.pop(symbol, None) is not None:
            self._publish((LATEST, symbol), None)

    def put_candle(self, candle: Candle) -> None:
        """Take in a state of a candle."""
        self.put_candles((candle,))

    def put_candles(self, candles: Iterable[Candle]) -> None:
        """Take in states of candles."""
        grown: dict[tuple[str, str, str], _Series] = {}
        for candle in candles:
            key, start_ms = (candle.symbol, candle.interval, candle.session), candle.window_start
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = _Series()
                self._symbols.add(key[0])
            known = series.candles.get(start_ms)
            if known is None:
                series.add(candle)
                grown[key] = series
            elif candle.version > known.version:
                series.candles[start_ms] = candle
            else:
                continue
            self._publish((CANDLE, *key, start_ms), candle)
        for series in grown.values():
            series.let_go(self._history_ms)
