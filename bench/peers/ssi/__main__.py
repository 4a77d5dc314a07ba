"""What one writes by hand for Vietnam: SSI's own client, a record as Avro, a Kafka producer. One process.

The client, ssi-fc-data, unpacks SignalR in a thread of its own and hands each message over as a dictionary. As good as
such a script gets: the schema parsed once and written by fastavro, the producer idempotent and batching. It has nothing
else: it never connects again, nothing slows it down, and nothing tells what it missed. Nothing of stockstream is
imported.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from ssi_fc_data.fc_md_client import MarketDataClient
from ssi_fc_data.fc_md_stream import MarketDataStream

LINGER_MS = 5
Message = dict[str, Any]
Encode = Callable[[Message], tuple[bytes, bytes]]


def encoder(schema: Path, schema_id: int) -> Encode:
    """A message of the stream as the key and value of a record."""
    parsed, header = fastavro.parse_schema(json.loads(schema.read_text())), b"\0" + schema_id.to_bytes(4, "big")

    def encode(message: Message) -> tuple[bytes, bytes]:
        trade = json.loads(message["Content"])
        day, month, year = trade["TradingDate"].split("/")
        at_ms = int(datetime.fromisoformat(f"{year}-{month}-{day}T{trade['Time']}+07:00").timestamp()) * 1000
        total = int(trade["TotalVol"])
        record = {
            **{"symbol": f"SSI:{trade['Symbol']}", "event_time": at_ms, "timestamp": str(at_ms)},
            **{"price": trade["LastPrice"], "last_size": trade["LastVol"], "day_volume": total, "sequence": total},
            **{"exchange": trade["Exchange"], "source": "ssi", "currency": "VND"},
            **{"change": trade["Change"], "change_percent": trade["RatioChange"]},
            **{"conditions": f"{trade['TradingSession']},{trade['Side']}"},
            "producer_timestamp": int(time.time() * 1000),
        }
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, parsed, record)
        return record["symbol"].encode(), out.getvalue()

    return encode


def stream(given: argparse.Namespace, handle: Callable[[Message], None]) -> None:
    """Have each message of the symbols' trades handled, in a thread."""
    config = SimpleNamespace(
        auth_type="Bearer",
        consumerID=given.consumer,
        consumerSecret=given.secret,
        url=f"{given.url}/",
        stream_url=f"{given.url}/",
    )
    names = "-".join(symbol.partition(":")[2] for symbol in given.symbols.split(","))
    MarketDataStream(config, MarketDataClient(config)).start(handle, print, f"X-TRADE:{names}")


async def with_aiokafka(given: argparse.Namespace, encode: Encode) -> None:
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message | None]()
    loop.add_signal_handler(signal.SIGTERM, messages.put_nowait, None)
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, linger_ms=LINGER_MS
    )
    await producer.start()
    stream(given, lambda message: loop.call_soon_threadsafe(messages.put_nowait, message))
    while (message := await messages.get()) is not None:
        key, value = encode(message)
        await producer.send(given.topic, value, key=key)
    await producer.stop()


def with_confluent(given: argparse.Namespace, encode: Encode) -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "enable.idempotence": True,
            "linger.ms": LINGER_MS,
            "partitioner": "murmur2_random",
        }
    )

    def handle(message: Message) -> None:
        key, value = encode(message)
        producer.produce(given.topic, value, key)
        producer.poll(0)

    stream(given, handle)
    ended.wait()
    producer.flush(10)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--topic", "--url", "--symbols", "--consumer", "--secret"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("--schema", type=Path, required=True)
    arguments.add_argument("--schema-id", type=int, required=True)
    arguments.add_argument("--producer", choices=("aiokafka", "confluent"), required=True)
    given = arguments.parse_args()
    encode = encoder(given.schema, given.schema_id)
    if given.producer == "aiokafka":
        asyncio.run(with_aiokafka(given, encode))
    else:
        with_confluent(given, encode)


if __name__ == "__main__":
    main()
