"""Stock Faust reads a table back from its changelog into an empty folder, says how long that took, and ends.

It is timed from where Faust begins to read to where it says that nothing remains, by a wrapper around each of the two.
"""

from __future__ import annotations

import os
import sys
import time

import faust
from faust.tables.recovery import Recovery

from bench.peers.peer import arguments, peak_mb, tell

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


times: dict[str, float] = {}
started, ended = Recovery._set_recovery_started, Recovery._set_recovery_ended


def recovery_started(self: Recovery) -> None:
    started(self)
    # The last time that it says so is right before it reads.
    times.update(begin=time.monotonic(), cpu_begin=time.process_time())


def recovery_ended(self: Recovery) -> None:
    ended(self)
    if "end" not in times:
        times.update(end=time.monotonic(), cpu_end=time.process_time())


Recovery._set_recovery_started, Recovery._set_recovery_ended = recovery_started, recovery_ended  # type: ignore[method-assign]


@app.agent(source)
async def nothing(stream: faust.StreamT[bytes]) -> None:
    async for value in stream:
        rows["never"] = [value]


@app.task
async def recovered() -> None:
    """Faust starts tasks once its tables are back."""
    seconds, cpu_s = (times[f"{clock}end"] - times[f"{clock}begin"] for clock in ("", "cpu_"))
    tell({"rows": len(rows), "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb()})
    os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="warning").execute_from_commandline()
