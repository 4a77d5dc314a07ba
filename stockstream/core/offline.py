"""The engine over a finite set of ticks in memory: files, tests, and whatever else needs no live tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from stockstream.core.columns import Columns
from stockstream.core.engine import Engine
from stockstream.core.piece import Stamped
from stockstream.core.publish import candle_of, volume_text
from stockstream.core.row import stamp
from stockstream.core.rows import Rows
from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick, Verdict

_NOTHING_COMMITTED = -1  # so no row is evicted; what is expired is decided by the log alone


class OfflineEngine:
    """Candles of ticks given in any number of batches, in any order."""

    def __init__(
        self, policy: Policy | None = None, trading: Trading | None = None, retention_ms: int | None = None
    ) -> None:
        """``policy`` defaults to one that finds nothing late, ``trading`` to days of UTC whatever the exchange.

        With ``retention_ms`` ticks are `expired` as they are where rows are kept for so long; here all rows stay.
        """
        self._rows = Rows(trading)
        self._engine = Engine(
            self._rows,
            policy or Policy(accepted_lateness_ms=None),
            retention_ms=retention_ms,
            committed=None if retention_ms is None else _NOTHING_COMMITTED,
        )
        self._next_offset = 0
        self.verdicts: Counter[Verdict] = Counter()

    def add(self, ticks: Sequence[Tick], topic_id: int = 0, first_offset: int | None = None) -> list[Verdict]:
        """Fold ticks; their place in the log counts on from ``first_offset``, else from the batch before."""
        first = self._next_offset if first_offset is None else first_offset
        stamped = [(stamp(0, first + n), tick) for n, tick in enumerate(ticks)]
        self._next_offset = max(self._next_offset, first + len(stamped))
        batch = self._engine.apply(topic_id, stamped, 0).batch
        self.verdicts.update(batch.verdicts())
        return [batch.verdict(at) for at, _ in stamped]

    def add_columns(self, ticks: Sequence[Stamped], columns: Columns) -> dict[int, Verdict]:
        """Fold the next ticks of a log, some of them as columns, of other symbols than the rest.

        ``ticks`` are (stamp, tick) in the order of their log, and the columns' offsets lie among those stamps. They go
        behind all that was added before. Returns the verdicts on those that were refused, by the stamps given.
        """
        stamps = [at for at, _ in ticks] + columns.offset[[0, -1] if len(columns) else []].tolist()
        if not stamps:
            return {}
        shift = self._next_offset - min(stamps)
        self._next_offset = max(stamps) + shift + 1
        shifted = [(at + shift, tick) for at, tick in ticks]
        batch = self._engine.apply(0, shifted, 0, replace(columns, offset=columns.offset + shift)).batch
        self.verdicts.update(batch.verdicts())
        return {at - shift: verdict for at, verdict in batch.refused.items()}

    def finish(self) -> None:
        """Say that no tick will follow: every window closes."""
        self._engine.close(1 << 62, idle=True)

    def candles(self, interval: str) -> Iterator[tuple[Candle, str | None]]:
        """Every candle of an interval with its exact volume in decimal, by symbol, session and window."""
        for at in self._rows.addresses(interval):
            row = self._rows.get(at)
            candle = None if row is None else candle_of(self._rows, at, row)
            if row is not None and candle is not None:
                yield candle, volume_text(self._rows, at, row)
