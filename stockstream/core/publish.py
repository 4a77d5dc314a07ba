"""A candle as it is published, derived from its row and the rows around it."""

from __future__ import annotations

from stockstream.core.interval import session_bounds, window_end
from stockstream.core.partial import E8, decimal_text
from stockstream.core.row import Row, candle_version
from stockstream.core.rows import Address, Rows
from stockstream.core.volume import Volume, cumulative_volume
from stockstream.models import Candle


def candle_of(rows: Rows, at: Address, row: Row) -> Candle | None:
    """The candle of a row; None while it holds control records only."""
    bar = row.bar
    if bar is None:
        return None
    interval, (symbol, session), start = at
    opens, closes = session_bounds(interval, start)
    grown = _volume(rows, at, row)
    stamp = row.stamp if grown is None else grown.stamp
    # A later record may have changed only what this candle's volume counts from.
    amended = row.amended or (row.closed and stamp > max(row.stamp, row.closed_at))
    amount: float | None = None
    if bar.trades:
        amount = bar.volume_e8 / E8
    elif grown is not None:
        amount = float(grown.amount)
    return Candle(
        symbol=symbol,
        interval=interval,
        session=session,
        window_start=start,
        window_end=window_end(interval, start),
        open=bar.first[3],
        high=bar.high,
        low=bar.low,
        close=bar.last[3],
        volume=amount,
        vwap=bar.vwap if bar.trades else None,
        trades=bar.trades or None,
        is_closed=row.closed,
        version=candle_version(stamp, row.closed),
        session_open=opens,
        session_close=closes,
        partial=row.began_unseen or (grown is not None and grown.partial),
        gap=row.gap or (grown is not None and grown.gap),
        corrected=grown is not None and grown.corrected,
        state="amended" if amended else "closed" if row.closed else "forming",
    )


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
