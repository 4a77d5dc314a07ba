"""What a venue must tell us: its wire protocol as plain functions over frames, without any I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from stockstream.errors import BadMessage
from stockstream.models import Tick

Frame = str | bytes
"""One WebSocket message as it arrived."""

Emit = Callable[[Sequence[Tick]], Awaitable[None]]
"""Takes ticks, in order; awaiting it is what slows a reader down when Kafka is slow."""

Offer = Callable[[Sequence[Tick]], bool]
"""Takes ticks, in order, if that needs no waiting; otherwise takes none of them and returns False."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a venue's feed is like, and the limits that the supervisor keeps for it.

    ``kind`` says what its ticks are; at most ``symbols_per_connection`` are asked for on one connection; after
    ``silence_s`` without a frame, while `Feed.is_open`, a connection counts as dead. With a ``heartbeat`` frames come
    whether anything is traded or not; without one it may just be quiet, and is given more time after each silence.
    A connection is renewed before ``lifetime_s`` (None: unlimited). At most ``connections`` may be open at a time with
    one credential (None: any number). Between two commands lie ``command_every_s``, and at most ``attempts`` to connect
    are made in ``attempts_window_s``. A tick is under way for ``latency_s`` at most; a feed that is delayed is so
    besides. ``confirms``: each of `Feed.subscribe`'s frames is answered, and what it asks for flows from that answer on
    (`Confirmed`); where it is not, it surely flows ``effective_after_s`` from when it was sent. Together these two are
    less than a minute. ``history_days`` of trades can be asked for later, 0 where none can. With ``sequential_ids`` the
    trade ids of each symbol count up by one, in the order in which they come: a jump is a hole.
    """

    kind: Literal["trades", "snapshots"]
    symbols_per_connection: int
    silence_s: float
    has_trade_ids: bool = False
    sequential_ids: bool = False
    has_cumulative_volume: bool = False
    history_days: int = 0
    lifetime_s: float | None = None
    command_every_s: float = 0.0
    attempts: int | None = None
    attempts_window_s: float = 300.0
    latency_s: float = 0.0
    confirms: bool = False
    effective_after_s: float = 0.0
    heartbeat: bool = False
    connections: int | None = None


class PartlyBad(BadMessage):
    """Some of a frame's parts cannot be read; ``ticks`` are what the others say."""

    def __init__(self, text: str, ticks: list[Tick]) -> None:
        super().__init__(text)
        self.ticks = ticks


class NotAdmitted(OSError):
    """A venue does not let us connect: ``cause`` for gap records; ``fatal`` says what a human has to do, if he has."""

    def __init__(self, cause: str, fatal: str | None = None) -> None:
        super().__init__(fatal or cause)
        self.cause, self.fatal = cause, fatal


@dataclass(frozen=True, slots=True)
class VenueCandle:
    """A candle as its venue tells it, over the window of ``interval`` that begins at ``window_start`` (epoch ms, UTC).

    Numbers are the doubles nearest to what the venue wrote. Without ``trades`` it is one of a window in which nothing
    was traded, and its prices mean nothing.
    """

    interval: str
    window_start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


@dataclass(frozen=True, slots=True)
class Location:
    """Where to open a connection, and with which headers. It may hold secrets: its repr shows nothing."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Notice(BadMessage):
    """A frame that carries no ticks, but tells something of its connection: `Feed.parse` raises it."""


class Confirmed(Notice):
    """The venue has done what was asked: the ticks of ``symbols`` flow from now on."""

    def __init__(self, symbols: Sequence[str] = ()) -> None:
        super().__init__(f"{len(symbols)} symbols confirmed")
        self.symbols = symbols


class Refused(Notice):
    """The venue will not do what was asked, for a reason in its own words; ``symbols`` are those concerned."""

    def __init__(self, reason: str, symbols: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.symbols = symbols


class Ending(Notice):
    """The venue will soon close this connection: another is to take its place before."""


class Fatal(Notice):
    """It is of no use to try again soon, for a reason in words for a user."""


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
        """The ticks of a frame, none where it carries none.

        Raises nothing but `BadMessage`, whatever the bytes; one of `Notice` where the frame is about the connection.
        """
        ...

    def is_open(self, now_ms: int) -> bool:
        """Whether frames should be coming now, so that silence means that something is wrong."""
        ...

    def fatal(self, error: Exception) -> str | None:
        """Why it is of no use to try again soon after ``error``, in words for a user; None if it is."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """What a `Feed` has besides if its venue asks for credentials; they are never part of `Feed.url`."""

    def lacks(self) -> str | None:
        """Which credential is missing, or can be none; where to get it and where to put it. None if all are there."""
        ...

    async def locate(self) -> Location:
        """Where to connect now; asks the venue if it has to. Raises `NotAdmitted`."""
        ...


class Poll(Protocol):
    """What a venue tells only when it is asked, beside its stream; it keeps the venue's limits by itself."""

    every_s: float
    """How often to ask."""

    async def ticks(self, symbols: Sequence[str], now_ms: Callable[[], int]) -> list[Tick]:
        """What is new of ``symbols``, received at ``now_ms()`` (epoch ms); raises `RequestFailed`."""
        ...

    async def close(self) -> None:
        """Let go of the venue."""
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


class CandleHistory(Protocol):
    """The candles that one venue makes itself, for ours to be compared with; it keeps the venue's limits by itself."""

    name: str
    """The source of its symbols."""

    def candles(self, symbol: str, interval: str, from_ms: int, until_ms: int) -> AsyncIterator[list[VenueCandle]]:
        """The candles of an interval of ours whose windows begin in ``[from_ms, until_ms)``, ascending, by pages.

        Windows without a trade may be among them or not, and so may one that is not over. Raises `HistoryFailed`,
        whose text says what to do, where the venue does not give them.
        """
        ...

    async def close(self) -> None:
        """Let go of the venue."""
        ...
