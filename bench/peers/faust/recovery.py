"""Stock Faust reads a table back from its changelog into an empty folder, says how many rows it has, and ends."""

from __future__ import annotations

import os
import sys
import time

import faust

from bench.peers.peer import arguments, tell

given = arguments()
sys.argv = [sys.argv[0], "worker", "--loglevel", "warning"]
app = faust.App(
    given.group,
    broker=f"kafka://{given.bootstrap}",
    store="rocksdb://",
    datadir=str(given.folder),
    topic_partitions=given.partitions,
    topic_disable_leader=True,
    web_enabled=False,
)
source = app.topic(given.topic, key_type=str, value_type=bytes, partitions=given.partitions)
rows = app.Table("rows", default=list, key_type=str, partitions=given.partitions)


@app.agent(source)
async def nothing(stream: faust.StreamT[bytes]) -> None:
    async for value in stream:
        rows["never"] = [value]


@app.task
async def recovered() -> None:
    """Faust starts tasks once its tables are back."""
    tell({"rows": len(rows), "cpu_s": time.process_time()})
    os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="warning").execute_from_commandline()
