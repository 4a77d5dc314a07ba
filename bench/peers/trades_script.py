"""What one writes by hand for a venue of trades: websockets, json, a record as Avro, a Kafka producer. One process.

As good as such a script gets: the schema parsed once and written by fastavro, the producer idempotent and batching. It
has nothing else: it never connects again, nothing slows it down, and nothing tells what it missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import fastavro
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from websockets.asyncio.client import connect

from stockstream.models import TICK_SCHEMA_V2

LINGER_MS = 5
SCHEMA = fastavro.parse_schema(TICK_SCHEMA_V2)
Record = dict[str, Any]
Read = Callable[[dict[str, Any]], Iterator[Record]]


def binance(message: dict[str, Any]) -> Iterator[Record]:
    trade = message.get("data")
    if trade is not None:
        yield {
            **{"symbol": f"BINANCE:{trade['s']}", "event_time": trade["T"], "timestamp": str(trade["T"])},
            **{"price": float(trade["p"]), "last_size": float(trade["q"]), "trade_id": trade["t"]},
            **{"exchange": "BINANCE", "source": "binance", "day_volume": -1},
        }


def finnhub(message: dict[str, Any]) -> Iterator[Record]:
    for trade in message.get("data", ()):
        yield {
            **{"symbol": f"FINNHUB:{trade['s']}", "event_time": trade["t"], "timestamp": str(trade["t"])},
            **{"price": trade["p"], "last_size": trade["v"], "kind": "trade" if trade["v"] else "quote"},
            **{"exchange": "US", "source": "finnhub", "conditions": ",".join(trade["c"] or ())},
            "day_volume": -1,
        }


def binance_commands(symbols: list[str]) -> list[str]:
    streams = [f"{symbol.partition(':')[2].lower()}@trade" for symbol in symbols]
    return [json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1})]


def finnhub_commands(symbols: list[str]) -> list[str]:
    return [json.dumps({"type": "subscribe", "symbol": symbol.partition(":")[2]}) for symbol in symbols]


VENUES: dict[str, tuple[Read, Callable[[list[str]], list[str]]]] = {
    "binance": (binance, binance_commands),
    "finnhub": (finnhub, finnhub_commands),
}


def encode(record: Record, header: bytes) -> bytes:
    record["producer_timestamp"] = int(time.time() * 1000)
    out = io.BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, SCHEMA, record)
    return out.getvalue()


async def records(given: argparse.Namespace) -> AsyncIterator[Record]:
    read, commands = VENUES[given.venue]
    async with connect(given.url) as socket:
        for command in commands(given.symbols.split(",")):
            await socket.send(command)
        async for frame in socket:
            for record in read(json.loads(frame)):
                yield record


async def with_aiokafka(given: argparse.Namespace, header: bytes, ended: asyncio.Event) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, linger_ms=LINGER_MS
    )
    await producer.start()

    async def copy() -> None:
        async for record in records(given):
            await producer.send(given.topic, encode(record, header), key=record["symbol"].encode())

    await until(ended, copy())
    await producer.stop()


async def with_confluent(given: argparse.Namespace, header: bytes, ended: asyncio.Event) -> None:
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "enable.idempotence": True,
            "linger.ms": LINGER_MS,
            "partitioner": "murmur2_random",
        }
    )

    async def copy() -> None:
        async for record in records(given):
            producer.produce(given.topic, encode(record, header), record["symbol"].encode())
            producer.poll(0)

    await until(ended, copy())
    producer.flush(10)


async def until(ended: asyncio.Event, work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    await ended.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--topic", "--url", "--symbols"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("--venue", choices=VENUES, required=True)
    arguments.add_argument("--schema-id", type=int, default=1)
    arguments.add_argument("--producer", choices=("aiokafka", "confluent"), required=True)
    given = arguments.parse_args()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    run = with_aiokafka if given.producer == "aiokafka" else with_confluent
    await run(given, b"\0" + given.schema_id.to_bytes(4, "big"), ended)


if __name__ == "__main__":
    asyncio.run(main())
