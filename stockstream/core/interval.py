"""Intervals and the windows they cut time into."""

from __future__ import annotations

from stockstream.errors import InvalidInterval

MINUTE_MS = 60_000
DAY_MS = 86_400_000
INTERVALS_MS: dict[str, int] = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1d": DAY_MS}
"""Every interval that candles are made for, shortest first, with its length."""

LEDGER = "1m"
"""The interval whose rows decide what is a duplicate or expired, for all intervals."""

DAILY = "1d"
"""The interval whose windows are trading dates."""

Key = tuple[str, str]
"""(symbol, session)."""

Address = tuple[str, Key, int]
"""(interval, key, window start ms)."""

REGULAR = "regular"
EXTENDED = "extended"
SESSIONS = (REGULAR, EXTENDED)


def check_interval(text: str) -> str:
    """Return ``text``; raise `InvalidInterval` if no candles are made for it."""
    if text not in INTERVALS_MS:
        raise InvalidInterval(f"{text!r} is no interval: use one of {', '.join(INTERVALS_MS)}")
    return text


def window_start(interval: str, event_ms: int) -> int:
    """Start of the window ``[start, end)`` that holds ``event_ms``; for 1d the date in UTC."""
    return event_ms - event_ms % INTERVALS_MS[interval]


def start_in(interval: str, at_ms: int, day_ms: int | None) -> int | None:
    """Start of the window of what happens at ``at_ms`` on the trading date ``day_ms``; None: on no date, in no day."""
    return day_ms if interval == DAILY else window_start(interval, at_ms)


def window_end(interval: str, start_ms: int) -> int:
    """End of the window that begins at ``start_ms``."""
    return start_ms + INTERVALS_MS[interval]
