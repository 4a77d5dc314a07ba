"""The candles of what a tick topic holds now, folded as those of a file are."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from stockstream.adapters import connection_of, policy_of, registry_of
from stockstream.agents.intake import Intake, take_in
from stockstream.broker.snapshot import open_snapshot
from stockstream.cli.progress import progress
from stockstream.cli.times import Span
from stockstream.codecs import TickDecoder
from stockstream.codecs.impatient import Impatient
from stockstream.core.offline import OfflineEngine
from stockstream.models import Tick, Verdict
from stockstream.models.records import Records
from stockstream.models.tick import CONTROLS
from stockstream.settings import Settings

_CLOCK_SKEW_MS = 60_000


async def fold_topic(
    settings: Settings, topic: str, span: Span, symbols: Collection[str] | None = None
) -> OfflineEngine:
    """Fold the ticks of ``topic`` (as it is named on the broker) that the candles of ``span`` are made of.

    Judged as a worker with these settings does. What is no tick is counted in the engine's ``verdicts``. The log is
    read from the record that it took at the beginning of the first trading date, less what clocks may differ by, to its
    ends at the start: an event is never in the log before it happens, but may come there any time later. Raises
    `InvalidInput` for a missing topic, `BrokerUnreachable`, and `StockstreamError` where a registry is needed and away.
    """
    engine = OfflineEngine(policy_of(settings))
    registry = registry_of(settings)
    decoder = TickDecoder(Impatient(registry))
    first_ms, skew_ms = span.first_ms, settings.future_tolerance_s * 1000 + _CLOCK_SKEW_MS
    try:
        async with open_snapshot(
            connection_of(settings), topic, since_ms=None if first_ms is None else first_ms - skew_ms
        ) as snapshot:
            with progress(f"reading {topic}", snapshot.total) as told:
                async for fetched in snapshot.batches():
                    records = Records.of(fetched)
                    await decoder.prepare(records)
                    _fold(engine, take_in(records, decoder, 0), span, symbols)
                    told(snapshot.done)
    finally:
        await registry.close()
    engine.finish()
    return engine


def _fold(engine: OfflineEngine, intake: Intake, span: Span, symbols: Collection[str] | None) -> None:
    """Fold those of the ticks that matter, and count what is none."""
    ticks = [
        (at, tick) for at, tick in intake.ticks if (symbols is None or tick.symbol in symbols) and _matters(tick, span)
    ]
    columns = intake.columns
    chosen = np.ones(len(columns), np.bool_)
    if symbols is not None:
        chosen &= np.isin(columns.symbol, [at for at, symbol in enumerate(columns.symbols) if symbol in symbols])
    if span.first_ms is not None:
        chosen &= columns.event_time >= span.first_ms
    if span.end_ms is not None:
        chosen &= columns.event_time < span.end_ms
    engine.add_columns(ticks, columns.of(np.flatnonzero(chosen)))
    for letter in intake.letters:
        if symbols is None or letter.key is None or letter.key.decode(errors="replace") in symbols:
            engine.verdicts[Verdict(letter.reason)] += 1


def _matters(tick: Tick, span: Span) -> bool:
    if tick.kind in CONTROLS:
        return True
    first_ms, end_ms = span.first_ms, span.end_ms
    return (first_ms is None or tick.event_time >= first_ms) and (end_ms is None or tick.event_time < end_ms)
