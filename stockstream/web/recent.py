"""The newest states of prices and candles, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockstream.models import Candle, Latest

Series = tuple[str, str]
"""(interval, session)."""

LATEST = "latest"
CANDLE = "candle"


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
        self._series: dict[str, dict[Series, dict[int, Candle]]] = {}

    @property
    def symbols(self) -> set[str]:
        """Every symbol of which a price or a candle is held."""
        return self.latest.keys() | self._series.keys()

    def candles(self, symbol: str, interval: str, session: str) -> list[Candle]:
        """The candles held, ascending by window; they are shared, so not to be changed."""
        windows = self._series.get(symbol, {}).get((interval, session), {})
        return [windows[start_ms] for start_ms in sorted(windows)]

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
        windows = self._series.setdefault(candle.symbol, {}).setdefault((candle.interval, candle.session), {})
        known = windows.get(candle.window_start)
        if known is not None and candle.version <= known.version:
            return
        windows[candle.window_start] = candle
        if known is None:
            oldest_end_ms = max(windows) - self._history_ms
            for start_ms in [start for start, held in windows.items() if held.window_end < oldest_end_ms]:
                del windows[start_ms]
        self._publish((CANDLE, *candle.key), candle)
