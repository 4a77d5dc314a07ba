"""One state of one candle, as it is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stockstream.models.tick import avro

State = Literal["forming", "closed", "amended"]
STATES: tuple[State, ...] = ("forming", "closed", "amended")


@dataclass(slots=True)
class Candle:
    """Open, high, low, close and volume of a symbol over ``[window_start, window_end)``.

    Times are epoch milliseconds in UTC; a 1d candle's ``window_start`` labels the trading date, its real bounds are
    ``session_open`` and ``session_close``. The greatest ``version`` of (symbol, interval, session, window_start)
    is the one that counts. ``volume``, ``vwap`` and ``trades`` are None where the source cannot tell them.
    ``partial``: the first part was not seen; ``gap``: ticks are known to be missing; ``corrected``: the vendor took
    cumulative volume back.
    """

    symbol: str = field(metadata=avro("string"))
    interval: str = field(metadata=avro("string"))
    session: str = field(metadata=avro("string"))
    window_start: int = field(metadata=avro("long"))
    window_end: int = field(metadata=avro("long"))
    open: float = field(metadata=avro("double"))
    high: float = field(metadata=avro("double"))
    low: float = field(metadata=avro("double"))
    close: float = field(metadata=avro("double"))
    volume: float | None = field(metadata=avro(["null", "double"], None))
    vwap: float | None = field(metadata=avro(["null", "double"], None))
    trades: int | None = field(metadata=avro(["null", "long"], None))
    is_closed: bool = field(metadata=avro("boolean"))
    version: int = field(metadata=avro("long"))
    session_open: int = field(metadata=avro("long"))
    session_close: int = field(metadata=avro("long"))
    partial: bool = field(default=False, metadata=avro("boolean", False))
    gap: bool = field(default=False, metadata=avro("boolean", False))
    corrected: bool = field(default=False, metadata=avro("boolean", False))
    state: State = field(
        default="forming",
        metadata=avro({"type": "enum", "name": "State", "symbols": list(STATES), "default": "forming"}, "forming"),
    )

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies the candle whatever its version: (symbol, interval, session, window_start)."""
        return (self.symbol, self.interval, self.session, self.window_start)
