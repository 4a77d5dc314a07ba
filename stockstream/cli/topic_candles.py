"""The candles of what a tick topic holds now, folded as those of a file are."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from stockstream.adapters import policy_of, rules_of, trading_of
from stockstream.agents.intake import Intake
from stockstream.cli.rebuilt import Rebuilt
from stockstream.cli.times import Span
from stockstream.cli.topic_ticks import in_log_since_ms, read_ticks
from stockstream.core.columns import Columns
from stockstream.core.offline import OfflineEngine
from stockstream.core.piece import Stamped
from stockstream.models import Verdict
from stockstream.settings import Settings


async def fold_topic(
    settings: Settings, topic: str, span: Span, symbols: Collection[str] | None = None
) -> OfflineEngine:
    """Fold the ticks of ``topic`` (as it is named on the broker) that the candles of ``span`` are made of.

    Judged as a worker with these settings does. What is no tick is counted in the engine's ``verdicts``. The log is
    read from the record that it took at the beginning of the first trading date, less what clocks may differ by, to its
    ends at the start: an event is never in the log before it happens, but may come there any time later. Raises as
    `read_ticks` does.
    """
    engine = OfflineEngine(policy_of(settings), trading_of(settings))
    since_ms = None if span.first_ms is None else in_log_since_ms(settings, span.first_ms)
    async with aclosing(read_ticks(settings, topic, since_ms=since_ms)) as taken:
        async for _, intake in taken:
            _fold(engine, intake, span, symbols)
    engine.finish()
    return engine


async def fold_rebuilt(settings: Settings, topic: str, span: Span, symbols: Collection[str] | None = None) -> Rebuilt:
    """Fold the ticks of ``topic`` as a worker with these settings does, and as a rebuild would; as `fold_topic`."""
    rebuilt = Rebuilt(rules_of(settings), span)
    since_ms = None if span.first_ms is None else in_log_since_ms(settings, span.first_ms)
    everything_since = replace(span, to_ms=None)  # what is newer decides what is expired
    async with aclosing(read_ticks(settings, topic, since_ms=since_ms)) as taken:
        async for fetched, intake in taken:
            rebuilt.add(fetched[0].partition, *_chosen(intake, everything_since, symbols))
    rebuilt.end()
    return rebuilt


def _fold(engine: OfflineEngine, intake: Intake, span: Span, symbols: Collection[str] | None) -> None:
    """Fold those of the ticks that matter, and count what is none."""
    engine.add_columns(*_chosen(intake, span, symbols))
    for letter in intake.letters:
        if symbols is None or letter.key is None or letter.key.decode(errors="replace") in symbols:
            engine.verdicts[Verdict(letter.reason)] += 1


def _chosen(intake: Intake, span: Span, symbols: Collection[str] | None) -> tuple[list[Stamped], Columns]:
    """Those of the ticks that matter."""
    ticks = [
        (at, tick) for at, tick in intake.ticks if (symbols is None or tick.symbol in symbols) and span.matters(tick)
    ]
    columns = intake.columns
    chosen = np.ones(len(columns), np.bool_)
    if symbols is not None:
        chosen &= np.isin(columns.symbol, [at for at, symbol in enumerate(columns.symbols) if symbol in symbols])
    if span.first_ms is not None:
        chosen &= columns.event_time >= span.first_ms
    if span.end_ms is not None:
        chosen &= columns.event_time < span.end_ms
    return ticks, columns.of(np.flatnonzero(chosen))
