"""As `bench.peers.loop.scalar`, but each batch is decoded and reduced to minutes by numpy.

It reads the leading fields of this one schema (symbol, event_time, price, last_size) and takes the symbol from the
record's key; a record of another schema would make nonsense. Minutes are rolled up to 5m and 1d.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.peers.loop.client import Key, run
from bench.peers.peer import HEADER_BYTES, INTERVALS_MS, Row, arguments

_VARINT = np.arange(10)
_DOUBLES = np.arange(16)


def main() -> None:
    given = arguments()
    names: list[str] = []
    numbers: dict[bytes, int] = {}

    def number_of(key: bytes) -> int:
        found = numbers.get(key)
        if found is None:
            found = numbers[key] = len(names)
            names.append(key.decode())
        return found

    def apply(batch: list[Any], candles: dict[Key, Row]) -> set[Key]:
        values = [message.value() for message in batch]
        symbol = np.fromiter((number_of(message.key()) for message in batch), np.int64, len(batch))
        event_ms, price, size = hot_fields(values)
        touched: set[Key] = set()
        for which, minute, *found in minutes(symbol, event_ms - event_ms % 60_000, price, size):
            for interval, length_ms in INTERVALS_MS.items():
                key = (names[which], interval, minute - minute % length_ms)
                row = candles.get(key)
                if row is None:
                    candles[key] = list(found)
                else:
                    merge(row, found)
                touched.add(key)
        return touched

    run(given, 20_000, apply)


def hot_fields(values: list[bytes]) -> tuple[Any, Any, Any]:
    """Event times, prices and sizes of encoded ticks."""
    count = len(values)
    lengths = np.fromiter(map(len, values), np.int64, count)
    data = np.frombuffer(b"".join(values) + b"\0" * 32, np.uint8)
    at = np.cumsum(lengths) - lengths + HEADER_BYTES
    if data[at].max() > 127:
        raise ValueError("a symbol is longer than 63 bytes")
    at += 1 + (data[at] >> 1)
    bytes_of = data[at[:, None] + _VARINT]
    zigzag, width, open_ = np.zeros(count, np.int64), np.zeros(count, np.int64), np.ones(count, bool)
    for place in range(10):
        zigzag |= np.where(open_, (bytes_of[:, place] & 127).astype(np.int64) << (7 * place), 0)
        width += open_
        open_ &= bytes_of[:, place] > 127
        if not open_.any():
            break
    doubles = np.ascontiguousarray(data[(at + width)[:, None] + _DOUBLES]).view("<f8")
    return (zigzag >> 1) ^ -(zigzag & 1), doubles[:, 0], doubles[:, 1]


def minutes(symbol: Any, minute: Any, price: Any, size: Any) -> Any:
    """(symbol's number, minute, open, high, low, close, volume, trades) of each symbol and minute, in log order."""
    order = np.argsort(symbol, kind="stable")
    symbol, minute, price, size = symbol[order], minute[order], price[order], size[order]
    cut = np.flatnonzero((symbol[1:] != symbol[:-1]) | (minute[1:] != minute[:-1])) + 1
    first = np.concatenate(([0], cut))
    last = np.concatenate((cut, [len(symbol)])) - 1
    columns = (
        symbol[first],
        minute[first],
        price[first],
        np.maximum.reduceat(price, first),
        np.minimum.reduceat(price, first),
        price[last],
        np.add.reduceat(size, first),
        last - first + 1,
    )
    return zip(*(column.tolist() for column in columns), strict=True)


def merge(row: Row, found: Row) -> None:
    if found[1] > row[1]:
        row[1] = found[1]
    if found[2] < row[2]:
        row[2] = found[2]
    row[3] = found[3]
    row[4] += found[4]
    row[5] += found[5]


if __name__ == "__main__":
    main()
