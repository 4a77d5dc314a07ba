"""What can be said of a tick by looking at nothing but the tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import QUOTE, Columns
from stockstream.models import Tick, Verdict, is_symbol
from stockstream.models.tick import CONTROLS

_GREATEST_TIME_MS = 253_339_228_800_000  # year 9998: no calendar goes farther, and no date ends beyond 9999
_GREATEST = 1e15  # of prices and sizes: their products, summed, stay finite


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds of what is accepted.

    A tick is late when it was received more than ``accepted_lateness_ms`` (None: never late) plus its exchange's
    ``feed_delay_ms`` after it happened, and quarantined when it lies more than ``future_tolerance_ms`` ahead of its
    reception. No clock is read, so live, replay and rebuild judge alike.
    """

    accepted_lateness_ms: int | None = 900_000
    future_tolerance_ms: int = 60_000
    feed_delay_ms: Mapping[str, int] = field(default_factory=dict)

    def judge(self, tick: Tick) -> Verdict:
        """The verdict of a tick by itself: accepted, or the first reason to refuse it."""
        if not is_symbol(tick.symbol):
            return Verdict.BAD_SYMBOL
        event_ms, received_ms = tick.event_time, tick.producer_timestamp or tick.event_time
        if not (0 < event_ms < _GREATEST_TIME_MS and 0 < received_ms < _GREATEST_TIME_MS):
            return Verdict.BAD_TIME
        if tick.kind in CONTROLS:
            return self._judge_control(tick)
        if not 0 < tick.price <= _GREATEST:
            return Verdict.BAD_PRICE
        if not 0 <= tick.last_size <= _GREATEST:
            return Verdict.BAD_SIZE
        if event_ms - received_ms > self.future_tolerance_ms:
            return Verdict.FUTURE
        if tick.kind != "quote" and self.accepted_lateness_ms is not None:
            delay_ms = self.feed_delay_ms.get(tick.exchange, 0)
            if received_ms - event_ms - delay_ms > self.accepted_lateness_ms:
                return Verdict.LATE
        return Verdict.ACCEPTED

    def accepts(self, columns: Columns) -> NDArray[np.bool_]:
        """Of which trades, snapshots and quotes `judge` would say that they are accepted."""
        names = np.zeros(len(columns.symbols), np.bool_)
        names[columns.symbol] = True
        names[[which for which in np.flatnonzero(names).tolist() if not is_symbol(columns.symbols[which])]] = False
        event, price, size = columns.event_time, columns.price, columns.last_size
        received = columns.received_ms
        good = names[columns.symbol] & (event > 0) & (event < _GREATEST_TIME_MS)
        good &= (received > 0) & (received < _GREATEST_TIME_MS)
        good &= (price > 0) & (price <= _GREATEST) & (size >= 0) & (size <= _GREATEST)
        good &= event - received <= self.future_tolerance_ms
        if self.accepted_lateness_ms is not None:
            delays = np.array([self.feed_delay_ms.get(exchange, 0) for _, exchange in columns.venues], np.int64)
            on_time = received - event - delays[columns.venue] <= self.accepted_lateness_ms
            good &= on_time | (columns.kind == QUOTE)
        return good

    def _judge_control(self, tick: Tick) -> Verdict:
        """A control record is never late, but one from the future would make all rows before it look old."""
        last_ms = tick.event_time
        if tick.kind != "start":
            if tick.until is None or not tick.event_time <= tick.until < _GREATEST_TIME_MS:
                return Verdict.BAD_TIME
            last_ms = tick.until
        received_ms = tick.producer_timestamp or last_ms
        return Verdict.FUTURE if last_ms - received_ms > self.future_tolerance_ms else Verdict.ACCEPTED
