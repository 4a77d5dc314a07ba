"""What a venue must tell us: its wire protocol as plain functions over frames, without any I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stockstream.models import Tick

Frame = str | bytes
"""One WebSocket message as it arrived."""

Emit = Callable[[Sequence[Tick]], Awaitable[None]]
"""Takes ticks, in order; awaiting it is what slows a reader down when Kafka is slow."""

Offer = Callable[[Sequence[Tick]], bool]
"""Takes ticks, in order, if that needs no waiting; otherwise takes none of them and returns False."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a venue's feed is like.

    ``kind`` says what its ticks are; at most ``symbols_per_connection`` are asked for on one connection; after
    ``silence_s`` without a frame, while `Feed.is_open`, a connection counts as dead. With ``sequential_ids`` the trade
    ids of each symbol count up by one, in the order in which they come: a jump is a hole.
    """

    kind: Literal["trades", "snapshots"]
    symbols_per_connection: int
    silence_s: float
    sequential_ids: bool = False


class Feed(Protocol):
    """One venue's protocol on one connection; may remember what that connection has asked for."""

    name: str
    """The source of its ticks, as in `Tick.source`."""
    url: str
    capabilities: Capabilities

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        """The frames that ask for ``symbols``, from ``now_ms`` on."""
        ...

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The frames that end what `subscribe` began."""
        ...

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        """The ticks of a frame, none where it carries none; raises nothing but `BadMessage`, whatever the bytes."""
        ...

    def is_open(self, now_ms: int) -> bool:
        """Whether frames should be coming now, so that silence means that something is wrong."""
        ...

    def fatal(self, error: Exception) -> str | None:
        """Why it is of no use to try again soon after ``error``, in words for a user; None if it is."""
        ...


class History(Protocol):
    """What one venue still tells of the past; it keeps the venue's limits by itself."""

    name: str
    """The source of its ticks, as in `Tick.source`."""
    depth_ms: int
    """How far back it reaches."""

    def trades(self, symbol: str, from_ms: int, until_ms: int) -> AsyncIterator[list[Tick]]:
        """All trades that happened in ``[from_ms, until_ms]``, ascending, a page at a time.

        They have the ids of the live feed, so that those which it had already delivered change nothing, and were
        received when they happened (`Tick.producer_timestamp`), so that none of them is late. Raises `HistoryFailed`,
        whose text says what to do, where the venue does not give them.
        """
        ...
