"""The same candles by Quix Streams: three tumbling windows in RocksDB with changelogs, each update emitted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.models.serializers import Deserializer

from bench.peers.peer import INTERVALS_MS, Row, Tick, Window, arguments, decoder, write_candles


def main() -> None:
    given = arguments()
    decode = decoder(given.schema)
    window = Window()
    rows: dict[tuple[str, str, int], Row] = {}

    class Ticks(Deserializer):
        def __call__(self, value: bytes, ctx: Any) -> Tick:
            window.begin()
            return decode(value)

    app = Application(
        broker_address=given.bootstrap,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        state_dir=given.folder / "state",
        commit_interval=1.0,
        loglevel="WARNING",
        consumer_extra_config={"fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 50},
    )
    topic = app.topic(
        given.topic,
        key_deserializer="str",
        value_deserializer=Ticks(),
        timestamp_extractor=lambda value, headers, timestamp, kind: value["event_time"],
    )
    frame = app.dataframe(topic)
    for interval, length_ms in INTERVALS_MS.items():
        tumbling = frame.tumbling_window(timedelta(milliseconds=length_ms), name=interval)
        tumbling.reduce(reduce, initial).current().update(capture(rows, interval), metadata=True)
    app.run(count=given.records * len(INTERVALS_MS))  # it counts what comes out of every branch
    window.end(lambda: write_candles(given.folder, rows))


def initial(tick: Tick) -> Row:
    price = tick["price"]
    return [price, price, price, price, tick["last_size"], 1]


def reduce(row: Row, tick: Tick) -> Row:
    price = tick["price"]
    return [row[0], max(row[1], price), min(row[2], price), price, row[4] + tick["last_size"], row[5] + 1]


def capture(rows: dict[tuple[str, str, int], Row], interval: str) -> Callable[..., None]:
    def update(result: dict[str, Any], key: str, timestamp: int, headers: Any) -> None:
        rows[key, interval, result["start"]] = result["value"]

    return update


if __name__ == "__main__":
    main()
