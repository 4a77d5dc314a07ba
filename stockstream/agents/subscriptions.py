"""The agent that reads ``subscriptions``: it keeps the table, and its partitions say which connections are ours."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from stockstream.broker.stores import PartitionStore
from stockstream.broker.transport import is_ours, let_go, send_records

log = logging.getLogger(__name__)


def attach(app: Any, topic: Any, table: Any) -> None:
    """Have ``app`` feed the fetches of ``topic`` into ``table``, by symbol."""

    @app.agent(topic, name="ingest")  # type: ignore[untyped-decorator]  # Faust's is not typed
    async def ingest(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            if not is_ours(app, message.tp, message.generation_id):
                let_go(app, message)
                continue
            records = event.value.records
            pairs = ((records.key(at), records.value(at)) for at in range(len(records)))
            rows = {key: value for key, value in pairs if key is not None}
            store = PartitionStore(table, message.partition)
            store.write(rows.items())
            await send_records(app, store.changelog, message.partition, rows.items(), partial(_logged, store))
            await stream.ack(event)


def _logged(store: PartitionStore, base: int, count: int) -> None:
    store.advance(base, count)
