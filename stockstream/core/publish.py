"""A candle as it is published, derived from its row and the rows around it."""

from __future__ import annotations

from stockstream.core.interval import Address, window_end
from stockstream.core.partial import E8, decimal_text, vwap_of
from stockstream.core.row import Row, candle_version
from stockstream.core.rows import Rows
from stockstream.core.trading import bounds_of
from stockstream.core.volume import Volume, cumulative_volume
from stockstream.models import Candle
from stockstream.models.candle import State


def candle_of(rows: Rows, at: Address, row: Row) -> Candle | None:
    """The candle of a row; None while it holds control records only."""
    bar = row.bar
    if bar is None:
        return None
    interval, (symbol, session), start = at
    opens, closes, _ = bounds_of(rows.trading.hours(row.clock), at)
    end = window_end(interval, start)
    stamp, closed, trades = row.stamp, row.closed, bar.trades
    partial, gap, corrected = row.joined_ms > 0 and row.began_unseen, row.gap, False
    amount: float | None = None
    vwap: float | None = None
    if trades:
        amount = bar.volume_e8 / E8
        vwap = vwap_of(bar.high, bar.low, bar.volume_e8, bar.turnover + bar.turnover_low)
    elif (grown := _volume(rows, at, row)) is not None:
        stamp, amount = grown.stamp, float(grown.amount)
        partial, gap, corrected = partial or grown.partial, gap or grown.gap, grown.corrected
    # A later record may have changed only what this candle's volume counts from.
    amended = row.amended or (closed and stamp > max(row.stamp, row.closed_at))
    state: State = "amended" if amended else "closed" if closed else "forming"
    return Candle(  # by place: naming twenty fields takes longer than all the rest
        symbol, interval, session, start, end,
        bar.first[3], bar.high, bar.low, bar.last[3], amount, vwap, trades or None,
        closed, candle_version(stamp, closed), opens, closes, partial, gap, corrected, state,
    )  # fmt: skip


def volume_text(rows: Rows, at: Address, row: Row) -> str | None:
    """The exact volume as a decimal, None where it is not known."""
    if row.bar is not None and row.bar.trades:
        return decimal_text(row.bar.volume_e8)
    grown = _volume(rows, at, row)
    return None if grown is None else str(grown.amount)


def _volume(rows: Rows, at: Address, row: Row) -> Volume | None:
    bar = row.bar
    if bar is None or bar.trades or bar.cumulative is None:
        return None
    return cumulative_volume(rows, at, row, bar.cumulative)
