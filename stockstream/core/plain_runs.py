"""Plain runs of trades: their windows are merged once each, and those that the batch both opens and ends are written.

Of a backlog nearly all are of this kind. What merging tick by tick and closing would make of them is known beforehand:
a row that is new holds exactly the figures of its ticks, and closes with them. A run is taken this way only where that
is sure; every other goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from stockstream.core.merge import take
from stockstream.core.partial import E8, vwap_of
from stockstream.core.publish import window_bounds
from stockstream.core.row import Row, candle_version, encoded_whole
from stockstream.core.rows import Series
from stockstream.core.runs import Run
from stockstream.core.trade_ids import TradeIds
from stockstream.core.windows import Figures
from stockstream.models import Candle


def is_ahead(run: Run, series: Sequence[Series]) -> bool:
    """Whether a plain run lies ahead of all that its rows have taken, so that none of its ticks need be looked at.

    Its first windows are then the newest rows of their ``series``, those of all intervals, or later ones. No row has
    seen any of the ticks, nor an id of the trades, and no hole is known that new rows would have to be told of.
    """
    for each in series:
        newest, window = each.newest, run.windows[each.interval][0]
        if newest is None:
            continue
        row = each.get(newest)
        if row is None or row.gap_until_ms or newest > window.start_ms:
            return False
        if newest == window.start_ms:
            seen = row.ids.bounds
            # The other minutes of the run may have come into the log before its first one.
            if row.stamp >= run.first or (seen and window.ids and window.ids[0] <= seen[-1]):
                return False
    return True


def merge_window(row: Row, window: Figures) -> None:
    """Merge a window of a plain run into the row that lies behind it."""
    row.ids.extend(window.ids)
    row.stamp = max(row.stamp, window.last)
    take(row, window.partial, window.first)


def new_plain_row(topic_id: int, window: Figures, started_ms: int, clock: str) -> Row:
    """The row of a window of a plain run that has none yet; ``started_ms``: the latest subscription known before."""
    return Row(
        topic_id, window.last, window.partial, start_ms=started_ms, clock=clock, ids=TradeIds(window.ids),
        first_stamp=window.first,
    )  # fmt: skip


def write_whole(
    series: Series, windows: Sequence[Figures], topic_id: int, closed_at: int, started_ms: int, clock: str
) -> list[Candle]:
    """Append the closed rows of windows of a plain run to a series; returns their candles.

    ``closed_at`` is how far the log has been read; ``started_ms`` as for `new_plain_row`.
    """
    interval, (symbol, session) = series.interval, series.key
    candles = []
    for (
        start, _, _, _, first, last, _, _, opening, closing, high, low, units, rest_e8, turnover, turnover_low, trades,
        _, ids,
    ) in windows:  # fmt: skip
        volume_e8 = units * E8 + rest_e8
        series.append_encoded(
            start,
            encoded_whole(
                topic_id, last, first, closed_at, started_ms, clock, ids,
                opening, closing, high, low, volume_e8, turnover, turnover_low, trades,
            ),
        )  # fmt: skip
        end, opens, closes = window_bounds(interval, start)
        candle = Candle(
            symbol, interval, session, start, end,
            opening[3], high, low, closing[3], volume_e8 / E8, vwap_of(high, low, volume_e8, turnover + turnover_low),
            trades, True, candle_version(last, True), opens, closes, False, False, False, "closed",
        )  # fmt: skip
        candles.append(candle)
    return candles
