"""One open connection as the runner sees it: its socket, what was asked for on it, and when it was last heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stockstream.sources.limits import Pace


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds.

    A connection that lasted ``healthy_s`` starts the back-off anew; one that was quiet for ``ping_after_s`` is asked
    for a sign of life; ``fatal_retry_s`` is the pace at which what only a human can mend is tried again. Subscriptions
    are confirmed ``confirm_within_s``, where a venue does that. A renewed connection has ``renew_within_s`` to deliver;
    it needs not where neither it nor the old one does for ``quiet_s``.
    """

    connect_s: float = 10.0
    close_s: float = 3.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    healthy_s: float = 60.0
    watch_every_s: float = 1.0
    ping_after_s: float = 20.0
    pong_within_s: float = 20.0
    fatal_retry_s: float = 300.0
    confirm_within_s: float = 10.0
    renew_within_s: float = 60.0
    quiet_s: float = 20.0


class Socket(Protocol):
    """What the runner needs of a `FrameStream`; all of it may raise `ConnectionClosed`."""

    take: Callable[[list[bytes]], bool] | None
    """May take messages as they arrive, before `receive` returns them; says whether it did."""

    async def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one; raises only when all of them have been taken."""
        ...

    async def send(self, message: str) -> None:
        """Send a text message."""
        ...

    async def ping(self) -> Awaitable[float]:
        """Send a ping; what it returns ends with the pong."""
        ...

    async def close(self) -> None:
        """Close in good order, within a time limit of its own; does not raise."""
        ...


@dataclass(slots=True, eq=False)
class Line:
    """A connection. Times are epoch ms, or steady seconds.

    ``frame_ms`` and ``frame_s`` are those of the last frame, ``alive_ms`` and ``alive_s`` those of the last sign of
    life. ``verdict`` is why we gave it up, and ``fatal`` why the venue did for good, if so. ``unconfirmed`` are the
    symbols asked for and not answered yet, last at ``asked_s``; ``ticks`` counts what it delivered. ``is_taking``:
    frames are out of the socket's hands and not emitted yet. ``ending`` is set when the venue has said that it will
    close it.
    """

    socket: Socket
    pace: Pace
    opened_s: float
    frame_ms: int = 0
    frame_s: float = 0.0
    alive_ms: int = 0
    alive_s: float = 0.0
    asked_s: float = 0.0
    ticks: int = 0
    frames: int = 0
    is_taking: bool = False
    verdict: str | None = None
    fatal: str | None = None
    unconfirmed: set[str] = field(default_factory=set)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None
    watch: asyncio.Task[None] | None = None

    def heard(self, now_ms: int, now_s: float) -> None:
        """A frame has come."""
        self.frame_ms = self.alive_ms = now_ms
        self.frame_s = self.alive_s = now_s

    def answered(self, symbols: Iterable[str]) -> None:
        """The venue has answered what was asked for ``symbols``."""
        self.unconfirmed.difference_update(symbols)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.reader is not None and self.reader.done()

    async def say(self, frames: Sequence[str], steady_s: Callable[[], float]) -> None:
        """Send commands, no faster than the venue takes them; raises `ConnectionClosed`."""
        for frame in frames:
            await self.pace.turn()
            await self.socket.send(frame)
            self.asked_s = steady_s()
