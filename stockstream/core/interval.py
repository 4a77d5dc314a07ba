"""Intervals and the windows they cut time into."""

from __future__ import annotations

from stockstream.errors import InvalidInterval

MINUTE_MS = 60_000
DAY_MS = 86_400_000
INTERVALS_MS: dict[str, int] = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1d": DAY_MS}
"""Every interval that candles are made for, shortest first, with its length."""

LEDGER = "1m"
"""The interval whose rows decide what is a duplicate or expired, for all intervals."""

REGULAR = "regular"
EXTENDED = "extended"
SESSIONS = (REGULAR, EXTENDED)


def check_interval(text: str) -> str:
    """Return ``text``; raise `InvalidInterval` if no candles are made for it."""
    if text not in INTERVALS_MS:
        raise InvalidInterval(f"{text!r} is no interval: use one of {', '.join(INTERVALS_MS)}")
    return text


def window_start(interval: str, event_ms: int) -> int:
    """Start of the window ``[start, end)`` that holds ``event_ms``; for 1d the label of its trading date."""
    return event_ms - event_ms % INTERVALS_MS[interval]


def window_end(interval: str, start_ms: int) -> int:
    """End of the window that begins at ``start_ms``."""
    return start_ms + INTERVALS_MS[interval]


def session_bounds(interval: str, start_ms: int) -> tuple[int, int]:
    """Real bounds of the window: what holds a tick, and when it can close. The UTC day for 1d."""
    return start_ms, window_end(interval, start_ms)


def trading_day(start_ms: int) -> tuple[int, int]:
    """Open and close of the trading date that holds a window; the UTC day."""
    day = start_ms - start_ms % DAY_MS
    return day, day + DAY_MS
