"""What a tick topic holds now, decoded as a worker does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence

from aiokafka import ConsumerRecord

from stockstream.adapters import connection_of, registry_of
from stockstream.agents.intake import Intake, take_in
from stockstream.broker.snapshot import open_snapshot
from stockstream.cli.progress import progress
from stockstream.codecs import TickDecoder
from stockstream.codecs.impatient import Impatient
from stockstream.models.records import Records
from stockstream.settings import Settings

_CLOCK_SKEW_MS = 60_000


async def read_ticks(
    settings: Settings,
    topic: str,
    *,
    since_ms: int | None,
    partitions: Collection[int] | None = None,
    key: bytes | None = None,
    epoch: int = 0,
) -> AsyncGenerator[tuple[Sequence[ConsumerRecord], Intake]]:
    """Records of ``topic`` (as it is named on the broker) with what they are, of one partition each, in log order.

    Read is what the log took at ``since_ms`` (None: all) and later, up to its ends at the start, in ``partitions``
    (None: all); what has another key than ``key`` (None: any) is left out. Raises `InvalidInput` for a missing topic,
    `BrokerUnreachable`, and `StockstreamError` where a registry is needed and away. Close it: `contextlib.aclosing`.
    """
    registry = registry_of(settings)
    decoder = TickDecoder(Impatient(registry))
    try:
        async with open_snapshot(connection_of(settings), topic, since_ms=since_ms, partitions=partitions) as snapshot:
            with progress(f"reading {topic}", snapshot.total) as told:
                async for fetched in snapshot.batches():
                    chosen = fetched if key is None else [record for record in fetched if record.key == key]
                    if chosen:
                        records = Records.of(chosen)
                        await decoder.prepare(records)
                        yield chosen, take_in(records, decoder, epoch)
                    told(snapshot.done)
    finally:
        await registry.close()


def in_log_since_ms(settings: Settings, event_ms: int) -> int:
    """From when on the log may have taken what happened at ``event_ms``: no event is in it before it happens.

    But clocks may differ, and a source's time may lie ahead by the future tolerance.
    """
    return event_ms - settings.future_tolerance_s * 1000 - _CLOCK_SKEW_MS
