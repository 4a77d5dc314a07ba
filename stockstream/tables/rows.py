"""Candle rows in the stores of one partition, as the engine sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from stockstream.broker.stores import PartitionStore
from stockstream.core.interval import INTERVALS_MS, Address, Key
from stockstream.core.row import LAYOUT_VERSION, Row, row_closed_at, row_is_closed, row_place
from stockstream.core.rows import Rows, Series
from stockstream.core.trading import Trading
from stockstream.errors import NewerState

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
    """(symbol, session) and window start of an encoded key; raises ValueError if it is none."""
    name, _, window = data.partition(b'",[')
    try:
        return _key(name), _start(window)
    except OverflowError as error:
        raise ValueError(f"not a key of a candle's row ({error})") from error


def _key(name: bytes) -> Key:
    symbol, _, session = name[2:].decode().rpartition("#")
    return symbol, session


def _start(window: bytes) -> int:
    return round(float(window.partition(b",")[0]) * 1000)


_MOST_KEPT = 10_000  # of a partition; about a kilobyte each


class StoreRows(Rows):
    """Rows in stores. What batches read and change is held until it is taken; of many series the newest row stays."""

    def __init__(self, stores: Mapping[str, PartitionStore], trading: Trading | None = None) -> None:
        """``stores``: the partition's store of each interval."""
        super().__init__(trading)
        self._stores = stores
        self._kept: dict[Series, None] = {}
        self.places: dict[int, int] = {}

    def load(self, committed: Callable[[int], int]) -> Iterator[tuple[Address, Row]]:
        """Read the keys of all rows; yields those that `Engine.restore` asks for.

        They are the open ones, each symbol's newest, and those that closed where the log was read last:
        ``committed(topic id)`` is the stamp that is read next, and a row that closed right before it may have been
        stored and not yet sent. Afterwards ``places`` holds the newest stamp by topic id. Raises `NewerState` if a
        newer version has been at work here.
        """
        for interval, store in self._stores.items():
            before = b""
            for data, value in store.items():
                if value[0] > LAYOUT_VERSION:
                    raise NewerState(
                        f"table {store.changelog} has rows of layout {value[0]}, and this version of stockstream reads "
                        f"layouts up to {LAYOUT_VERSION}: go back to the version that wrote them, or a newer one"
                    )
                name, _, window = data.partition(b'",[')
                if name != before:  # rows of one series lie next to each other
                    before, key = name, _key(name)
                    starts = self.series(interval, key).starts
                start = _start(window)
                starts.append(start)
                topic_id, at = row_place(value)
                if at > self.places.get(topic_id, -1):
                    self.places[topic_id] = at
                if not row_is_closed(value) or row_closed_at(value) >= committed(topic_id) - 1:
                    yield (interval, key, start), Row.decode(value)
        for (interval, key), series in self._series.items():
            series.starts.sort()  # never empty: no series was asked for before
            newest = self._read((interval, key, series.starts[-1]))
            if newest is not None:
                yield (interval, key, series.starts[-1]), newest

    def newest(self, interval: str, key: Key, limit: int) -> list[tuple[Address, Row]]:
        """The newest rows of a key, ascending; only to be looked at, between batches."""
        known = self._series.get((interval, key))  # anybody may ask for any symbol
        if known is None:
            return []
        rows = [(start, known.get(start)) for start in known.starts[-limit:]]
        return [((interval, key, start), row) for start, row in rows if row is not None]

    def take(self, touched: Iterable[Address]) -> Changes:
        """What is to be stored and logged: all that changed, and the touched rows again. Lets go of the others."""
        changes: Changes = {interval: [] for interval in self._stores}
        for interval, key, start in touched:
            self.series(interval, key).touch(start)
        for series in self._active:
            interval, name = series.interval, _name(series.key)
            changes[interval] += [(name + _window(interval, start), data) for start, data in series.changes()]
            self._kept.pop(series, None)
            if series.end_batch():
                self._kept[series] = None
        self._active.clear()
        while len(self._kept) > _MOST_KEPT:
            longest_kept = next(iter(self._kept))
            del self._kept[longest_kept]
            longest_kept.let_go()
        return changes

    def _read(self, at: Address) -> Row | None:
        value = self._stores[at[0]].get(encode_key(at))
        return None if value is None else Row.decode(value)
