"""What one writes by hand: yfinance's AsyncWebSocket, a record as Avro, a Kafka producer. One process, one loop.

As good as such a script gets: the schema parsed once and written by fastavro, the producer idempotent and batching,
and as many sockets as 300 symbols need (a first version has one, and never hears of 200 of them). It has nothing else:
its ``listen`` never connects again, nothing slows it down, and nothing tells what it missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import fastavro
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from yfinance import AsyncWebSocket

from stockstream.models import TICK_SCHEMA_V1

SYMBOLS_A_SOCKET = 100
LINGER_MS = 5
SCHEMA = fastavro.parse_schema(TICK_SCHEMA_V1)
Message = dict[str, Any]


def encode(message: Message, header: bytes) -> bytes:
    record = {
        "symbol": message["id"],
        "price": message["price"],
        "timestamp": message["time"],
        "exchange": message.get("exchange", ""),
        "quote_type": message.get("quote_type", 0),
        "market_hours": message.get("market_hours", 0),
        "change_percent": message.get("change_percent", 0.0),
        "day_volume": int(message.get("day_volume", 0)) & 0x7FFFFFFF,
        "change": message.get("change", 0.0),
        "last_size": int(message.get("last_size", 0)) & 0x7FFFFFFF,
        "price_hint": message.get("price_hint", ""),
        "producer_timestamp": int(time.time() * 1000),
    }
    out = io.BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, SCHEMA, record)
    return out.getvalue()


async def with_aiokafka(given: argparse.Namespace, header: bytes, ended: asyncio.Event) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, linger_ms=LINGER_MS
    )
    await producer.start()

    async def handle(message: Message) -> None:
        await producer.send(given.topic, encode(message, header), key=message["id"].encode())

    await listen(given, handle, ended)
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

    def handle(message: Message) -> None:
        producer.produce(given.topic, encode(message, header), message["id"].encode())
        producer.poll(0)

    await listen(given, handle, ended)
    producer.flush(10)


async def listen(
    given: argparse.Namespace, handle: Callable[[Message], Awaitable[None] | None], ended: asyncio.Event
) -> None:
    symbols = given.symbols.split(",")
    tasks = []
    for first in range(0, len(symbols), SYMBOLS_A_SOCKET):
        socket = AsyncWebSocket(url=given.url, verbose=False)
        await socket.subscribe(symbols[first : first + SYMBOLS_A_SOCKET])
        tasks.append(asyncio.create_task(socket.listen(handle)))
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--topic", "--url", "--symbols"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("--schema-id", type=int, default=1)
    arguments.add_argument("--producer", choices=("aiokafka", "confluent"), required=True)
    given = arguments.parse_args()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    run = with_aiokafka if given.producer == "aiokafka" else with_confluent
    await run(given, b"\0" + given.schema_id.to_bytes(4, "big"), ended)


if __name__ == "__main__":
    asyncio.run(main())
