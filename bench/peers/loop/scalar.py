"""The same candles by hand: confluent-kafka, fastavro and a dict in one loop, as one writes it without a framework.

Candles of 1m, 5m and 1d are kept in memory. It has no local store, does not recover, does not see duplicates and judges
nothing.
"""

from __future__ import annotations

from typing import Any

from bench.peers.loop.client import Key, run
from bench.peers.peer import INTERVALS_MS, Row, arguments, decoder


def main() -> None:
    given = arguments()
    decode = decoder(given.schema)

    def apply(batch: list[Any], candles: dict[Key, Row]) -> set[Key]:
        touched: set[Key] = set()
        for message in batch:
            tick = decode(message.value())
            symbol, price, size, event_ms = tick["symbol"], tick["price"], tick["last_size"], tick["event_time"]
            for interval, length_ms in INTERVALS_MS.items():
                key = (symbol, interval, event_ms - event_ms % length_ms)
                row = candles.get(key)
                if row is None:
                    candles[key] = [price, price, price, price, size, 1]
                else:
                    if price > row[1]:
                        row[1] = price
                    if price < row[2]:
                        row[2] = price
                    row[3] = price
                    row[4] += size
                    row[5] += 1
                touched.add(key)
        return touched

    run(given, 5000, apply)


if __name__ == "__main__":
    main()
