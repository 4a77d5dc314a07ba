"""How the fake counts what its clients do, and what it does to those that do too much."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Binance's limits as documented; times in seconds."""

    messages_per_s: int = 5
    streams: int = 1024
    attempts: int = 300
    attempts_window_s: float = 300.0
    lifetime_s: float = 86_400.0
    shutdown_notice_s: float = 600.0
    ping_every_s: float = 20.0
    pong_within_s: float = 60.0
    weight_per_minute: int = 6000
    refusals_before_ban: int = 3
    ban_s: float = 120.0

    def scaled(self, scale: float) -> Limits:
        """The same for clocks that run ``scale`` times as fast; pings and messages keep their pace."""
        return Limits(
            messages_per_s=self.messages_per_s,
            streams=self.streams,
            attempts=self.attempts,
            attempts_window_s=self.attempts_window_s / scale,
            lifetime_s=self.lifetime_s / scale,
            shutdown_notice_s=self.shutdown_notice_s / scale,
            ping_every_s=self.ping_every_s,
            pong_within_s=self.pong_within_s,
            weight_per_minute=self.weight_per_minute,
            refusals_before_ban=self.refusals_before_ban,
            ban_s=self.ban_s / scale,
        )


class Counter:
    """What happened within the last ``window_s``."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._at_s: deque[float] = deque()

    def add(self, now_s: float) -> int:
        """It happened again: how often within the window."""
        self._at_s.append(now_s)
        while self._at_s[0] <= now_s - self._window_s:
            self._at_s.popleft()
        return len(self._at_s)


@dataclass(slots=True)
class Doorkeeper:
    """One address's weight, and its ban if it went on asking after it was told not to.

    ``used`` is the weight of the requests of this ``minute``, ``weighed`` that of all.
    """

    limits: Limits
    used: int = 0
    weighed: int = 0
    minute: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until_s: float = 0.0
    statuses: list[int] = field(default_factory=list)

    def judge(self, weight: int, now_s: float) -> tuple[int, int]:
        """The status of a request, and ``Retry-After`` (s) where that is not 200."""
        status, after_s = self._judged(weight, now_s)
        self.statuses.append(status)
        return status, max(1, round(after_s)) if status != 200 else 0

    def ban(self, now_s: float) -> None:
        """Ban the address: for longer each time."""
        self.bans += 1
        self.refusals = 0
        self.banned_until_s = now_s + self.limits.ban_s * 2 ** (self.bans - 1)

    def _judged(self, weight: int, now_s: float) -> tuple[int, float]:
        if now_s < self.banned_until_s:
            return 418, self.banned_until_s - now_s
        if int(now_s // 60) != self.minute:
            self.minute, self.used, self.refusals = int(now_s // 60), 0, 0
        self.used += weight
        self.weighed += weight
        if self.used <= self.limits.weight_per_minute:
            return 200, 0.0
        self.refusals += 1
        if self.refusals > self.limits.refusals_before_ban:
            self.ban(now_s)
            return 418, self.banned_until_s - now_s
        return 429, 60 - now_s % 60
