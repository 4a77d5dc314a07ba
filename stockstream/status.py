"""What a worker tells of itself: what is wrong with it, for ``/health/ready``, and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockstream.access import check_keys
from stockstream.agents.dead_letters import DeadLetters
from stockstream.agents.persist import Persister
from stockstream.agents.processor import CandleProcessor
from stockstream.broker.kept import RetentionWatch
from stockstream.broker.transport import is_settled
from stockstream.codecs.avro import TickDecoder
from stockstream.ingestion import Ingestion
from stockstream.models.verdict import LETTERED
from stockstream.sinks.delivery import REFUSED
from stockstream.tables.gaps import totals
from stockstream.web.guard import Guard
from stockstream.web.health import Check, live_view_check
from stockstream.web.keys import ApiKeys
from stockstream.web.live import LiveView
from stockstream.web.metrics import Counted, Gauged


class Status:
    """Looks at the parts of a worker, which it does not change; ``persister`` is None where there is no sink."""

    def __init__(
        self,
        app: Any,
        *,
        processor: CandleProcessor,
        decoder: TickDecoder,
        live: LiveView,
        dead_letters: DeadLetters,
        ingestion: Ingestion,
        persister: Persister | None,
        kept: RetentionWatch,
        keys: ApiKeys,
        guard: Guard,
    ) -> None:
        self._app = app
        self._processor = processor
        self._decoder = decoder
        self._live = live
        self._dead_letters = dead_letters
        self._ingestion = ingestion
        self._persister = persister
        self._kept = kept
        self._keys = keys
        self._guard = guard

    def checks(self) -> list[Callable[[], Check]]:
        """What can be wrong."""
        return [
            self._check_tables,
            lambda: live_view_check(self._live),
            self._check_registry,
            self._check_sink,
            self._check_kept,
            lambda: check_keys(self._keys),
        ]

    def metrics(self) -> list[Counted | Gauged]:
        """What is counted and measured."""
        return [
            Counted("dead_letters", "Records put away, by reason.", "reason", self._letters_by_reason),
            Counted("ticks", "Ticks read, by verdict.", "verdict", self._ticks_by_verdict),
            Counted("fetches", "Fetches of a partition's ticks, by topic.", "topic", lambda: self._processor.fetches),
            Counted("sink_rows", "Rows for ClickHouse, by what became of them.", "outcome", self._sink_rows),
            Gauged(
                {"gaps": "Holes in the ledger.", "gaps_seconds": "How long they are, all together."},
                ("state", "cause"),
                self._gaps,
            ),
            Counted(
                "lost_before_read",
                "Records that Kafka deleted before they were read, by who was to read them.",
                "reader",
                self._lost_before_read,
            ),
            Gauged(
                {"retention_left_seconds": "How long Kafka still keeps the oldest record that is not read."},
                ("group", "topic"),
                lambda: {at: (left_s,) for at, (left_s, _) in self._kept.left.items()},
            ),
            Counted("http_refused", "Requests that were refused, by reason.", "reason", lambda: self._guard.refused),
        ]

    def _letters_by_reason(self) -> dict[str, int]:
        return {reason: self._dead_letters.counts[reason] for reason in sorted({*LETTERED, REFUSED})}

    def _ticks_by_verdict(self) -> dict[str, int]:
        return {str(verdict): count for verdict, count in self._processor.verdicts.items()}

    def _gaps(self) -> dict[tuple[str, str], tuple[float, float]]:
        found = totals(self._ingestion.gaps.gaps())
        return {at: (count, length_ms / 1000) for at, (count, length_ms) in found.items()}

    def _sink_rows(self) -> dict[str, int]:
        if self._persister is None:
            return {}
        health = self._persister.health()
        return {"inserted": health.inserted, "dead-lettered": health.dead_lettered, "undecodable": health.undecodable}

    def _lost_before_read(self) -> dict[str, int]:
        sink = 0 if self._persister is None else self._persister.health().lost_before_read
        return {"candles": self._processor.lost_before_read, "sink": sink}

    def _check_registry(self) -> Check:
        waits = self._decoder.waits
        return Check("registry", ok=waits is None, detail=waits or "", required=False)

    def _check_kept(self) -> Check:
        degraded = self._kept.degraded
        return Check("retention", ok=degraded is None, detail=degraded or "", required=False)

    def _check_tables(self) -> Check:
        if not is_settled(self._app):
            return Check("tables", ok=False, detail="partitions are being assigned or their rows recovered")
        return Check("tables", ok=True, detail=f"{len(self._app.consumer.assignment())} partitions")

    def _check_sink(self) -> Check:
        if self._persister is None:
            return Check("sink", ok=True, detail="disabled", required=False)
        health = self._persister.health()
        behind = "" if health.lag is None else f", {health.lag} records behind"
        detail = f"{health.degraded or f'{health.inserted} rows inserted'}, {health.buffered_rows} waiting{behind}"
        return Check("sink", ok=health.degraded is None, detail=detail, required=False)
