"""What the columns of a recording may hold, and the tick that a row of it is; the same for every format of file."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Protocol, Self

from stockstream.errors import InvalidInput
from stockstream.models import Tick, is_symbol
from stockstream.models.tick import CONTROLS, KINDS, SPANS

REQUIRED = ("event_ms", "trade_id", "price", "size")
OPTIONAL = ("symbol", "received_ms", "kind", "day_volume", "until_ms", "cause")
COLUMNS = (*REQUIRED, "side", *OPTIONAL)
"""The names of a file's columns, which ``columns`` may map to others; ``side`` is not read."""

TEXTS = {"symbol", "kind", "cause"}
"""Those that hold text; ``price`` and ``size`` hold numbers, all others whole numbers."""

DEFAULT_SYMBOL = "TRADES"
GREATEST_LONG = 2**63 - 1
PARQUET_MAGIC = b"PAR1"


class Recording(Protocol):
    """Recorded ticks in the order of their file; a context manager, to be iterated once.

    Memory does not grow with the file. Iterating raises `MalformedTrades` for the first row that is no tick.
    """

    name: str
    has_symbol: bool
    """Whether each row names its instrument."""
    size_bytes: int
    """Of the file; 0 if that is not known."""

    @property
    def position_bytes(self) -> int:
        """How much of ``size_bytes`` has been read."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Tick]: ...


class BadRow(InvalidInput):
    """A row is no tick; the text says which column, and what it must hold."""


def tick_of(
    symbol: str | None,
    event_ms: int | None,
    trade_id: int | None,
    price: float | None,
    size: float | None,
    received_ms: int | None = None,
    kind: str | None = None,
    day_volume: int | None = None,
    until_ms: int | None = None,
    cause: str | None = None,
) -> Tick:
    """The tick of a row, in which None stands for nothing; its source is ``replay``.

    A row without a kind is a trade, and has an id, a price and a size. A snapshot or quote has a price, a ``gap`` or
    ``repair`` its end, a ``start`` needs nothing. What says not when it was received was received when it happened, and
    a ``gap`` or ``repair`` at its end. Raises `BadRow`.
    """
    if event_ms is None:
        raise BadRow("event_ms is missing")
    if not 0 < event_ms <= GREATEST_LONG:
        raise BadRow(f"event_ms is {event_ms}: must be Unix time in ms")
    if symbol is None or not is_symbol(symbol):
        raise BadRow(f"symbol is {str(symbol)[:70]!r}: use 1 to 64 of A-Z a-z 0-9 . _ - ^ = : /")
    if kind is None or kind == "trade":
        if trade_id is None or not 0 <= trade_id <= GREATEST_LONG:
            raise BadRow(f"trade_id is {'missing' if trade_id is None else trade_id}: must be a whole number")
        return Tick(
            symbol,
            event_ms,
            _price(price),
            _size(size),
            trade_id=trade_id,
            producer_timestamp=event_ms if received_ms is None else _received(received_ms),
            source="replay",
        )
    if kind not in KINDS:
        raise BadRow(f"kind is {kind[:40]!r}: must be one of {', '.join(KINDS)} (--columns kind=- leaves it unread)")
    if kind in SPANS and (until_ms is None or not event_ms <= until_ms <= GREATEST_LONG):
        raise BadRow(
            f"until_ms is {'missing' if until_ms is None else until_ms}: a {kind} must end, and not before it begins"
        )
    known_ms = (until_ms or event_ms) if kind in SPANS else event_ms
    return Tick(
        symbol,
        event_ms,
        0.0 if kind in CONTROLS else _price(price),
        0.0 if kind in CONTROLS or size is None else _size(size),
        -1 if day_volume is None else day_volume,
        -1 if trade_id is None else trade_id,
        kind=kind,
        producer_timestamp=known_ms if received_ms is None else _received(received_ms),
        source="replay",
        until=until_ms if kind in SPANS else None,
        cause=cause or None if kind in SPANS else None,
    )


def _price(price: float | None) -> float:
    if price is None or not 0 < price < inf:
        raise BadRow(f"price is {'missing' if price is None else f'{price:g}'}: must be above 0")
    return price


def _size(size: float | None) -> float:
    if size is None or not 0 <= size < inf:
        raise BadRow(f"size is {'missing' if size is None else f'{size:g}'}: must be a number from 0")
    return size


def _received(received_ms: int) -> int:
    if not 0 < received_ms <= GREATEST_LONG:
        raise BadRow(f"received_ms is {received_ms}: must be Unix time in ms")
    return received_ms
