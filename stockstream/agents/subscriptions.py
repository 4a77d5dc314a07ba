"""The agent that reads ``subscriptions``: it keeps the table, and its partitions say which connections are ours."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from faust.types import TP

from stockstream.broker.stores import PartitionStore
from stockstream.broker.taken import Fetch
from stockstream.broker.transport import is_ours, send_records, work_off

log = logging.getLogger(__name__)


def attach(app: Any, topic: Any, table: Any) -> None:
    """Have ``app`` feed the fetches of ``topic`` into ``table``, by symbol."""

    async def store_rows(tp: TP, fetch: Fetch, generation: int) -> bool:
        if not is_ours(app, tp, generation):
            return False
        records = fetch.records
        pairs = ((records.key(at), records.value(at)) for at in range(len(records)))
        rows = {key: value for key, value in pairs if key is not None}
        store = PartitionStore(table, tp.partition)
        store.write(rows.items())
        await send_records(app, store.changelog, tp.partition, rows.items(), partial(_logged, store))
        return True

    @app.agent(topic, name="ingest")  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def ingest(stream: Any) -> None:
        await work_off(app, stream, store_rows)


def _logged(store: PartitionStore, base: int, count: int) -> None:
    store.advance(base, count)
