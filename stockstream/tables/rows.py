"""Candle rows in the stores of one partition, as the engine sees them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast
from functools import lru_cache

from stockstream.broker.stores import PartitionStore
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.row import Row, row_closed_at, row_is_closed, row_place
from stockstream.core.rows import Address, Key

Changes = dict[str, list[tuple[bytes, bytes | None]]]
"""By interval: encoded keys and rows (None: deleted) to be stored and logged."""


def encode_key(at: Address) -> bytes:
    """The key of a row as Faust's tumbling window table encodes it: ``["SYMBOL#session",[start s, end s]]``."""
    interval, key, start_ms = at
    return _name(key) + _window(interval, start_ms)


@lru_cache(20_000)
def _name(key: Key) -> bytes:
    symbol, session = key
    return f'["{symbol}#{session}",['.encode()


@lru_cache(20_000)
def _window(interval: str, start_ms: int) -> bytes:
    start_s = start_ms / 1000
    return f"{start_s},{start_s + INTERVALS_MS[interval] / 1000 - 0.1}]]".encode()


def decode_key(data: bytes) -> tuple[Key, int]:
    """(symbol, session) and window start of an encoded key."""
    name, _, window = data[2:].partition(b'",[')
    symbol, _, session = name.decode().rpartition("#")
    return (symbol, session), round(float(window[: window.index(b",")]) * 1000)


_NOT_LOADED = object()


class StoreRows:
    """Implements `stockstream.core.rows.Rows` over stores; what a batch changes is kept until it is taken."""

    def __init__(self, stores: Mapping[str, PartitionStore]) -> None:
        """``stores``: the partition's store of each interval."""
        self._stores = stores
        self._starts: dict[tuple[str, Key], list[int]] = {}
        self._loaded: dict[Address, Row | None] = {}
        self._changed: dict[Address, None] = {}
        self.places: dict[int, int] = {}

    def load(self, committed: Callable[[int], int]) -> Iterator[tuple[Address, Row]]:
        """Read the keys of all rows; yields those that `Engine.restore` asks for.

        They are the open ones, each symbol's newest, and those that closed where the log was read last:
        ``committed(topic id)`` is the stamp that is read next, and a row that closed right before it may have been
        stored and not yet sent. Afterwards ``places`` holds the newest stamp by topic id.
        """
        for interval, store in self._stores.items():
            for data, value in store.items():
                key, start = decode_key(data)
                self._starts.setdefault((interval, key), []).append(start)
                topic_id, at = row_place(value)
                self.places[topic_id] = max(at, self.places.get(topic_id, at))
                if not row_is_closed(value) or row_closed_at(value) >= committed(topic_id) - 1:
                    yield (interval, key, start), Row.decode(value)
        for (interval, key), starts in self._starts.items():
            starts.sort()
            newest = self._read((interval, key, starts[-1]))
            if newest is not None:
                yield (interval, key, starts[-1]), newest

    def get(self, at: Address) -> Row | None:
        """See `Rows`."""
        found = self._loaded.get(at, _NOT_LOADED)
        if found is not _NOT_LOADED:
            return cast("Row | None", found)
        row = self._read(at)
        if row is not None:
            self._loaded[at] = row
        return row

    def put(self, at: Address, row: Row) -> None:
        """See `Rows`."""
        if self._loaded.get(at) is not row:
            starts, start = self._starts.setdefault(at[:2], []), at[2]
            if not starts or start > starts[-1]:
                starts.append(start)
            elif not _holds(starts, start):
                insort(starts, start)
            self._loaded[at] = row
        self._changed[at] = None

    def delete(self, at: Address) -> None:
        """See `Rows`."""
        starts = self._starts.get(at[:2])
        if starts is not None and _holds(starts, at[2]):
            del starts[bisect_left(starts, at[2])]
            self._loaded[at] = None
            self._changed[at] = None

    def before(self, at: Address) -> int | None:
        """See `Rows`."""
        starts, start = self._starts.get(at[:2]), at[2]
        if not starts:
            return None
        if start > starts[-1]:
            return starts[-1]
        index = bisect_left(starts, start)
        return starts[index - 1] if index else None

    def after(self, at: Address) -> int | None:
        """See `Rows`."""
        starts = self._starts.get(at[:2], [])
        index = bisect_right(starts, at[2])
        return starts[index] if index < len(starts) else None

    def newest(self, interval: str, key: Key, limit: int) -> list[tuple[Address, Row]]:
        """The newest rows of a key, ascending; only to be looked at, between batches."""
        found = []
        for start in self._starts.get((interval, key), [])[-limit:]:
            row = self._read((interval, key, start))
            if row is not None:
                found.append(((interval, key, start), row))
        return found

    def take(self, touched: Iterable[Address]) -> Changes:
        """What is to be stored and logged: all that changed, and the touched rows again. Ends the batch."""
        changes: Changes = {interval: [] for interval in self._stores}
        for at in {**self._changed, **dict.fromkeys(touched)}:
            row = self.get(at)
            changes[at[0]].append((encode_key(at), None if row is None else row.encode()))
        self._loaded.clear()
        self._changed.clear()
        return changes

    def _read(self, at: Address) -> Row | None:
        starts = self._starts.get(at[:2])
        if starts is None or not _holds(starts, at[2]):
            return None
        value = self._stores[at[0]].get(encode_key(at))
        return None if value is None else Row.decode(value)


def _holds(starts: list[int], start: int) -> bool:
    if not starts or start > starts[-1]:
        return False
    return starts[bisect_left(starts, start)] == start
