"""However a log is cut and decoded, the records of a window and their candle are the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

from columns import columns_of
from hypothesis import given
from hypothesis import strategies as st
from stored import T0_MS

from stockstream.agents.intake import Intake
from stockstream.cli.explain.fold import Fold
from stockstream.cli.explain.window import Window
from stockstream.core.row import stamp
from stockstream.core.rules import CandleRules
from stockstream.core.verdict import Policy
from stockstream.models import Tick

RULES = CandleRules(Policy(accepted_lateness_ms=100_000), close_delay_ms=1000, retention_ms=300_000, epoch=1)


@st.composite
def trades(draw: st.DrawFn) -> Tick:
    event_ms = T0_MS + draw(st.sampled_from([-70_000, -1, 0, 1, 500, 59_999, 60_000, 300_000, 361_000, 500_000]))
    received_ms = event_ms + draw(st.sampled_from([0, 0, 0, -60_001, 100_001]))
    price = draw(st.sampled_from([1.0, 2.0, 3.0, 0.0]))
    trade_id = draw(st.integers(-1, 6))
    return Tick("A", event_ms, price, 0.5, trade_id=trade_id, producer_timestamp=received_ms)


def folded(log: list[Tick], cuts: list[int], as_columns: bool, interval: str) -> Fold:
    fold = Fold(Window("A", interval, T0_MS - T0_MS % (86_400_000 if interval == "1d" else 60_000)), RULES)
    bounds = [0, *cuts, len(log)]
    for begin, end in pairwise(bounds):
        some = list(enumerate(log))[begin:end]
        ticks = [] if as_columns else [(stamp(RULES.epoch, offset), tick) for offset, tick in some]
        fold.add("t", 0, Intake(ticks, columns_of(some if as_columns else []), []), {})
    fold.end(T0_MS + 10 * 86_400_000)
    return fold


@given(st.lists(trades(), max_size=25), st.data(), st.booleans(), st.sampled_from(["1m", "1d"]))
def test_a_log_in_pieces_is_told_as_the_whole(
    log: list[Tick], data: st.DataObject, as_columns: bool, interval: str
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5)))
    whole, pieces = folded(log, [], False, interval), folded(log, cuts, as_columns, interval)
    assert pieces.found == whole.found
    assert (pieces.volume, pieces.edges(), pieces.earliest_ms) == (whole.volume, whole.edges(), whole.earliest_ms)
    assert (pieces.candle is None) == (whole.candle is None)
    if pieces.candle is not None and whole.candle is not None:
        # When a window closes follows the reading of the log.
        assert asdict(replace(pieces.candle, state="closed", vwap=None)) == asdict(
            replace(whole.candle, state="closed", vwap=None)
        )
        assert set(whole.edges()) == {"open", "high", "low", "close"}
