"""What a connection is doing, for health checks and logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["connecting", "streaming", "waiting", "failed", "stopped"]


@dataclass(slots=True)
class SymbolStatus:
    """How many ticks of a symbol were received, and the event and arrival time of the newest (epoch ms, 0: none)."""

    ticks: int = 0
    event_ms: int = 0
    received_ms: int = 0


@dataclass(slots=True)
class Status:
    """What a connection is doing since ``since_ms``; ``detail`` says what went wrong, if anything did.

    ``symbols`` are those that are wanted. ``unasked`` counts ticks of others, which are not passed on. ``refused`` says
    why the venue would not give what it was asked for, ``poll`` what is wrong with what is asked for beside the stream.
    """

    state: State = "connecting"
    since_ms: int = 0
    detail: str = ""
    connections: int = 0
    renewals: int = 0
    refused: str = ""
    poll: str = ""
    frames: int = 0
    bad_frames: int = 0
    unasked: int = 0
    symbols: dict[str, SymbolStatus] = field(default_factory=dict)

    @property
    def troubles(self) -> list[str]:
        """What is wrong now, in words for a user."""
        return [text for text in (self.detail, self.refused, self.poll) if text]

    @property
    def reconnects(self) -> int:
        """How often the connection was made again after it was lost; planned renewals are none."""
        return max(0, self.connections - 1)


class Throttle:
    """Says when something that happens often is worth a line: at first, then at most once in ``every_s``."""

    def __init__(self, every_s: float, steady_s: Callable[[], float]) -> None:
        self._every_s, self._steady_s = every_s, steady_s
        self._count = 0
        self._told_s: float | None = None

    def due(self) -> int | None:
        """It happened again: how often since it was last told, None if it is not to be told now."""
        self._count += 1
        now_s = self._steady_s()
        if self._told_s is not None and now_s - self._told_s < self._every_s:
            return None
        count, self._count, self._told_s = self._count, 0, now_s
        return count
