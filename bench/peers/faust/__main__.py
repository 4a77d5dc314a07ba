"""The same candles by Faust as its documentation shows it: an agent that takes one event after the other.

Three tumbling tables in RocksDB, with changelogs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

import faust
from faust.serializers import codecs

from bench.peers.peer import INTERVALS_MS, Window, arguments, decoder, write_candles

given = arguments()
sys.argv = [sys.argv[0], "worker", "--loglevel", "warning"]
decode = decoder(given.schema)


class _Avro(codecs.Codec):
    def _loads(self, data: bytes) -> Any:
        tick = decode(data)
        return {
            "symbol": tick["symbol"],
            "price": tick["price"],
            "last_size": tick["last_size"],
            "seconds": tick["event_time"] / 1000,
        }


codecs.register("tick", _Avro())


class Tick(faust.Record, serializer="tick"):
    symbol: str
    price: float
    last_size: float
    seconds: float


app = faust.App(
    given.group,
    broker=f"kafka://{given.bootstrap}",
    store="rocksdb://",
    datadir=str(given.folder),
    topic_partitions=given.partitions,
    topic_disable_leader=True,  # a little faster than with
    broker_commit_interval=1.0,
    web_enabled=False,
)
source = app.topic(given.topic, value_type=Tick, key_type=bytes, partitions=given.partitions)
tables = {
    interval: app.Table(f"candles_{interval}", default=list).tumbling(length_ms / 1000).relative_to_field(Tick.seconds)
    for interval, length_ms in INTERVALS_MS.items()
}
window, seen = Window(), 0


@app.agent(source)
async def candles(stream: Any) -> None:
    global seen
    async for tick in stream:
        window.begin()
        price, size = tick.price, tick.last_size
        for table in tables.values():
            known = table[tick.symbol].value()
            if known:
                first, high, low, _, volume, trades = known
                row = [first, max(high, price), min(low, price), price, volume + size, trades + 1]
            else:
                row = [price, price, price, price, size, 1]
            table[tick.symbol] = row
        seen += 1
        if seen == given.records:
            asyncio.get_running_loop().create_task(finish())


async def finish() -> None:
    await asyncio.sleep(0)  # the last event is acknowledged after its agent has gone on
    await app.producer.flush()
    await app.consumer.commit()
    window.end(write)
    os._exit(0)


def write() -> None:
    rows = {}
    for interval, table in tables.items():
        for (symbol, (start_s, _)), row in table.table.data.items():
            rows[symbol, interval, round(start_s * 1000)] = row
    write_candles(given.folder, rows)


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.WARNING)
    faust.Worker(app, loglevel="warning").execute_from_commandline()
