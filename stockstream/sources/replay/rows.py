"""What the columns of a recording may hold, and the tick that a row of it is; the same for every format of file."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import inf
from types import TracebackType
from typing import Literal, Protocol, Self

from stockstream.errors import InvalidInput
from stockstream.models import Tick, is_symbol
from stockstream.models.tick import CONTROLS, KINDS, SPANS

REQUIRED = ("event_ms", "trade_id", "price", "size")
OPTIONAL = ("symbol", "received_ms", "kind", "day_volume", "until_ms", "cause")
COLUMNS = (*REQUIRED, "side", *OPTIONAL)
"""The names of a file's columns, which ``columns`` may map to others; ``side`` is not read."""

TEXTS = {"symbol", "kind", "cause"}
"""Those that hold text; ``price`` and ``size`` hold numbers, all others whole numbers."""

TimeUnit = Literal["s", "ms", "us", "ns"]
"""Of the columns whose names end with ``_ms``, where a file has numbers in them."""

UNITS: dict[TimeUnit, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NS: dict[TimeUnit, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

FIRST_MS = 315_532_800_000  # 1980
END_MS = 4_102_444_800_000  # 2100
"""Times of recordings lie between: a number of one unit, taken for one of another, does not."""

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


def epoch_ms(name: str, number: int | Decimal, unit: TimeUnit | None) -> int:
    """A time in column ``name`` as epoch milliseconds; floors what is finer.

    Raises `BadRow` for what is in another ``unit`` than its own, or if that is not said (None: ms), not between 1980
    and 2099.
    """
    at_ms = _in_ms(number, unit or "ms")
    if FIRST_MS <= at_ms < END_MS:
        return at_ms
    likely = likely_unit(number)
    if likely is not None:
        raise BadRow(f"{name} is {number}, which is no time in {unit or 'ms'}: {advice(likely)}")
    if not 0 < at_ms <= GREATEST_LONG:
        raise BadRow(f"{name} is {number}: must be Unix time in {unit or 'ms'}")
    if unit is None:
        raise BadRow(
            f"{name} is {number}: must be Unix time in ms, of the years 1980 to 2099, or in what --time-unit says; "
            "--time-unit ms takes it as it is"
        )
    return at_ms


def advice(unit: TimeUnit) -> str:
    """What to do about a time that is in that unit."""
    return f"it looks like {UNITS[unit]}, which --time-unit {unit} reads"


def likely_unit(number: int | Decimal) -> TimeUnit | None:
    """The only unit in which a Unix time lies in the years 1980 to 2099; None: in none it does."""
    return next((unit for unit in UNITS if FIRST_MS <= _in_ms(number, unit) < END_MS), None)


def _in_ms(number: int | Decimal, unit: TimeUnit) -> int:
    return int(number * _NS[unit] // _NS["ms"])


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
    """The tick of a row, in which None stands for nothing, and times are of `epoch_ms`; its source is ``replay``.

    A row without a kind is a trade, and has an id, a price and a size. A snapshot or quote has a price, a ``gap`` or
    ``repair`` its end, a ``start`` needs nothing. What says not when it was received was received when it happened, and
    a ``gap`` or ``repair`` at its end. Raises `BadRow`.
    """
    if event_ms is None:
        raise BadRow("event_ms is missing")
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
            producer_timestamp=event_ms if received_ms is None else received_ms,
            source="replay",
        )
    if kind not in KINDS:
        raise BadRow(f"kind is {kind[:40]!r}: must be one of {', '.join(KINDS)} (--columns kind=- leaves it unread)")
    if kind in SPANS and (until_ms is None or until_ms < event_ms):
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
        producer_timestamp=known_ms if received_ms is None else received_ms,
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
