"""Stored candles overlaid with live ones, and windows without trades filled in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stockstream.core.interval import Address, window_end
from stockstream.core.trading import Hours, bounds_of, windows_before
from stockstream.models import Candle


def overlay(stored: Iterable[Candle], live: Iterable[Candle]) -> list[Candle]:
    """The candles of both, ascending by window; of one key the greatest version, whichever side holds it."""
    best: dict[tuple[str, str, str, int], Candle] = {}
    for side in (stored, live):
        for candle in side:
            known = best.get(candle.key)
            if known is None or candle.version > known.version:
                best[candle.key] = candle
    return sorted(best.values(), key=lambda candle: candle.window_start)


def fill_previous(candles: Sequence[Candle], limit: int, hours: Hours | None = None) -> list[Candle]:
    """The last ``limit`` windows from the first candle to the last one, those without trades filled in.

    ``candles`` are of one symbol, interval and session, ascending, without duplicates. Nothing is filled before the
    first or after the last of them, nor any window in which the session is closed by ``hours``.
    """
    filled: list[Candle] = []
    following: Candle | None = None
    # From the newest backwards, so that a gap of years costs no more than the windows asked for.
    for candle in reversed(candles):
        if following is not None:
            _fill_back(filled, candle, following, limit, hours)
        if len(filled) >= limit:
            break
        filled.append(candle)
        following = candle
    filled.reverse()
    return filled


def _fill_back(filled: list[Candle], before: Candle, after: Candle, limit: int, hours: Hours | None) -> None:
    key = before.symbol, before.session
    for start_ms in windows_before(hours, (before.interval, key, after.window_start)):
        if len(filled) >= limit or start_ms <= before.window_start:
            return
        filled.append(_without_trades(before, (before.interval, key, start_ms), hours, is_closed=after.is_closed))


def _without_trades(before: Candle, at: Address, hours: Hours | None, *, is_closed: bool) -> Candle:
    """A window that repeats the close before it; version 0, so that any real candle of that window replaces it.

    Windows close in order: it is surely closed only where the candle after it is.
    """
    start_ms, close = at[2], before.close
    opens_ms, closes_ms, _ = bounds_of(hours, at)
    return Candle(
        symbol=before.symbol,
        interval=before.interval,
        session=before.session,
        window_start=start_ms,
        window_end=window_end(before.interval, start_ms),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=0.0,
        vwap=None,
        trades=0,
        is_closed=is_closed,
        version=0,
        session_open=opens_ms,
        session_close=closes_ms,
        state="closed" if is_closed else "forming",
    )
