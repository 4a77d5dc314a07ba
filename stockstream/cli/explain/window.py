"""One candle's window, and the records that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

from stockstream.cli.place import Place
from stockstream.core.holes import touches
from stockstream.core.interval import DAILY, REGULAR, Address, window_start
from stockstream.core.partial import Edge, Partial
from stockstream.core.piece import Stamped
from stockstream.core.trading import FARTHEST_MS, Hours, bounds_of, place_of
from stockstream.models import Tick, Verdict
from stockstream.models.tick import CONTROLS, Kind


@dataclass(frozen=True, slots=True)
class Window:
    """The window of ``symbol`` and ``session`` that begins at ``start_ms``, cut by the ``hours`` of its venue."""

    symbol: str
    interval: str
    start_ms: int
    session: str = REGULAR
    hours: Hours | None = None

    @property
    def address(self) -> Address:
        """Where its row is."""
        return self.interval, (self.symbol, self.session), self.start_ms

    @property
    def bounds_ms(self) -> tuple[int, int]:
        """Which event times are in it: from the first up to, and without, the second."""
        bounds = bounds_of(self.hours, self.address)
        return bounds.opens_ms, bounds.ends_ms

    @property
    def first_ms(self) -> int:
        """The first event that matters: its cumulative volume counts from those before it on its trading date."""
        day = window_start(DAILY, self.start_ms)
        return day if self.hours is None else day - FARTHEST_MS

    def holds(self, tick: Tick) -> bool:
        """Whether a tick lies in it, or a control record reaches into it."""
        opens, closes = self.bounds_ms
        if tick.kind in CONTROLS and tick.until is not None:
            return touches([tick.event_time, tick.until], opens, closes)
        if not opens <= tick.event_time < closes:
            return False
        return tick.kind in CONTROLS or place_of(self.hours, tick)[0] == self.session


@dataclass(frozen=True, slots=True)
class Found:
    """A record and its ``verdict``. Of one that is no tick only ``told`` is known: why it is none.

    ``received_ms`` is None where the record does not say. ``edge`` orders it among the ticks of its window; None if it
    moves no candle.
    """

    place: Place
    verdict: Verdict
    told: str | None = None
    kind: Kind | None = None
    event_ms: int | None = None
    until_ms: int | None = None
    received_ms: int | None = None
    price: float | None = None
    size: float | None = None
    cumulative: int | None = None
    trade_id: int | None = None
    edge: Edge | None = None

    @property
    def is_tick(self) -> bool:
        """Whether it is a trade, snapshot or quote, good or bad."""
        return self.kind is not None and self.kind not in CONTROLS

    @classmethod
    def of(cls, place: Place, stamped: Stamped, verdict: Verdict) -> Found:
        """That of a tick."""
        at, tick = stamped
        is_price = tick.kind not in CONTROLS
        moves = verdict is Verdict.ACCEPTED and tick.kind in ("trade", "snapshot")
        return cls(
            place,
            verdict,
            tick.cause,
            tick.kind,
            tick.event_time,
            tick.until,
            tick.producer_timestamp or None,
            tick.price if is_price else None,
            tick.last_size if tick.kind == "trade" else None,
            tick.day_volume if is_price and tick.day_volume >= 0 else None,
            tick.trade_id if tick.kind == "trade" and tick.trade_id >= 0 else None,
            Partial.of(tick, at).first if moves else None,
        )
