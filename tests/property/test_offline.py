"""A log folded as columns, in any pieces, gives the candles of the same ticks one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from columns import parted
from hypothesis import given
from hypothesis import strategies as st
from ticks import streams

from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import Tick


def told(engine: OfflineEngine) -> list[Any]:
    engine.finish()
    return [
        (replace(candle, version=0, state=""), volume)
        for interval in INTERVALS_MS
        for candle, volume in engine.candles(interval)
    ]


@given(streams, st.integers(1, 12), st.sampled_from([1, 3]), st.integers(0, 50))
def test_columns_in_any_pieces_fold_alike(ticks: list[Tick], size: int, step: int, begin: int) -> None:
    """Offsets have holes, and begin anew with each piece, as those of other partitions do."""
    one_by_one, as_columns = OfflineEngine(Policy()), OfflineEngine(Policy())
    one_by_one.add(ticks)
    for first in range(0, len(ticks), size):
        piece = [(begin + at * step, tick) for at, tick in enumerate(ticks[first : first + size])]
        as_columns.add_columns(*parted(piece))
    assert as_columns.verdicts == one_by_one.verdicts
    assert told(as_columns) == told(one_by_one)
