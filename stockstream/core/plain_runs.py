"""Plain runs of trades: their windows are merged once each, and those that the batch both opens and ends are written.

Of a backlog nearly all are of this kind. What merging tick by tick and closing would make of them is known beforehand:
a row that is new holds exactly the figures of its ticks, and closes with them. A run is taken this way only where that
is sure; every other goes the long way, which decides what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import Floats
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.merge import take
from stockstream.core.partial import E8
from stockstream.core.row import Row, candle_version, encoded_whole
from stockstream.core.rows import Series
from stockstream.core.runs import Run
from stockstream.core.trade_ids import TradeIds
from stockstream.core.trading import Trading, bounds_of
from stockstream.core.windows import Figures, Windows
from stockstream.models import Candle

_FEW_UNITS = 2**62 // E8  # of fewer the volume fits into 64 bits
_EXACT_DOUBLE = 2**53


def is_ahead(run: Run, series: Sequence[Series]) -> bool:
    """Whether a plain run lies ahead of all that its rows have taken, so that none of its ticks need be looked at.

    Its first windows are then the newest rows of their ``series``, those of all intervals, or later ones. No row has
    seen any of the ticks, nor an id of the trades, and no hole is known that new rows would have to be told of.
    """
    for each in series:
        newest, start_ms = each.newest, run.windows[each.interval].start_ms(0)
        if newest is None:
            continue
        row = each.get(newest)
        if row is None or row.gap_until_ms or newest > start_ms:
            return False
        if newest == start_ms:
            seen, window = row.ids.bounds, run.windows[each.interval][0]
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


@dataclass(frozen=True, slots=True)
class Ahead:
    """The windows of a plain run in one interval that no row has seen; those from ``begin`` up to ``end`` are over.

    ``started_ms`` as for `new_plain_row`.
    """

    series: Series
    run: Run
    begin: int
    end: int
    started_ms: int


def write_whole(ahead: Sequence[Ahead], topic_id: int, closed_at: int, trading: Trading) -> list[Candle]:
    """Append the closed rows of windows that are over to their series, all of one interval; returns their candles.

    ``closed_at`` is how far the log has been read.
    """
    ahead = [each for each in ahead if each.begin < each.end]
    if not ahead:
        return []
    interval = ahead[0].series.interval
    stretches = [each.run.windows[interval] for each in ahead]
    counts = [each.end - each.begin for each in ahead]
    at = [of.begin + np.arange(each.begin, each.end) for of, each in zip(stretches, ahead, strict=True)]
    windows = stretches[0].columns.of(np.concatenate(at))
    volume_e8, volume = _volumes(windows)
    started_ms = np.repeat([each.started_ms for each in ahead], counts)
    clocks = _repeated([each.run.clock for each in ahead], counts)
    starts = windows.start_ms.tolist()
    encoded = encoded_whole(topic_id, closed_at, windows, volume_e8, started_ms, clocks)
    done, bounds = 0, []
    for each, count in zip(ahead, counts, strict=True):
        each.series.append_encoded(starts[done : done + count], encoded[done : done + count])
        hours = trading.hours(each.run.clock)
        bounds += [bounds_of(hours, (interval, each.run.key, start)) for start in starts[done : done + count]]
        done += count
    opens, closes, _ = zip(*bounds, strict=True)
    ends = [start + INTERVALS_MS[interval] for start in starts]
    return list(
        map(  # by place: naming twenty fields takes longer than all the rest
            Candle,
            _repeated([each.run.key[0] for each in ahead], counts), repeat(interval),
            _repeated([each.run.key[1] for each in ahead], counts), starts, ends,
            windows.open["price"].tolist(), windows.high.tolist(), windows.low.tolist(),
            windows.close["price"].tolist(), volume.tolist(), _vwaps(windows, volume), windows.trades.tolist(),
            repeat(True), candle_version(windows.last, True).tolist(), opens, closes,
            repeat(False), repeat(False), repeat(False), repeat("closed"),
        )
    )  # fmt: skip


def _repeated(items: Sequence[str], counts: Sequence[int]) -> list[str]:
    return list(chain.from_iterable(map(repeat, items, counts)))


def _volumes(windows: Windows) -> tuple[NDArray[Any], Floats]:
    """The volume of each, exact in units of 1e-8, and the nearest double of it."""
    if int(windows.units.max()) < _FEW_UNITS:
        volume_e8 = windows.units * E8 + windows.rest_e8
        if int(volume_e8.max()) <= _EXACT_DOUBLE:
            return volume_e8, volume_e8 / E8
    exact = windows.units.astype(object) * E8 + windows.rest_e8
    return exact, np.array([volume / E8 for volume in exact.tolist()])


def _vwaps(windows: Windows, volume: Floats) -> list[float | None]:
    """As `vwap_of`."""
    is_traded = volume > 0
    mean = (windows.turnover + windows.turnover_low) / np.where(is_traded, volume, 1.0)
    vwaps: list[float | None] = np.where(mean < windows.low, windows.low, np.minimum(windows.high, mean)).tolist()
    for place in np.flatnonzero(~is_traded).tolist():
        vwaps[place] = None
    return vwaps
