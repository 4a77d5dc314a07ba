"""Where rows are kept, as the engine sees it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from stockstream.core.interval import Address, Key
from stockstream.core.row import Row
from stockstream.core.trading import Trading

_UNREAD = Row(-1)


class Series:
    """The rows of one interval and key, by window start; ``changed`` are those that were put or deleted in the batch.

    A row given out may be changed by the engine, which then puts it back; until the batch ends, the same start gives
    the same object. Some are held as the bytes that they are stored as, until somebody asks for them.
    """

    __slots__ = ("_active", "_is_active", "_read", "changed", "held", "interval", "key", "starts")

    def __init__(self, interval: str, key: Key, read: Callable[[Address], Row | None], active: list[Series]) -> None:
        """``read`` finds rows that are not held; the series adds itself to ``active`` when a batch holds rows of it."""
        self.interval = interval
        self.key = key
        self._read = read
        self._active = active
        self._is_active = False
        self.starts: list[int] = []
        self.held: dict[int, Row | bytes | None] = {}
        self.changed: dict[int, None] = {}

    @property
    def newest(self) -> int | None:
        """Start of the last row."""
        return self.starts[-1] if self.starts else None

    def get(self, start: int) -> Row | None:
        """The row at ``start``."""
        held = self.held.get(start, _UNREAD)
        if held is not _UNREAD and type(held) is not bytes:
            return held  # type: ignore[return-value]  # by now it is no bytes
        if type(held) is bytes:
            row: Row | None = Row.decode(held)
        else:
            row = self._read((self.interval, self.key, start)) if self._has(start) else None
        if row is not None:
            self._hold(start, row)
        return row

    def changes(self) -> list[tuple[int, bytes | None]]:
        """Starts and bytes to store of the rows that changed in the batch; None to delete one."""
        held = self.held
        return [(start, row.encode() if isinstance(row := held[start], Row) else row) for start in self.changed]

    def append_encoded(self, starts: Sequence[int], data: Sequence[bytes]) -> None:
        """Store new rows, ascending and later than all others, by their bytes."""
        if not self._is_active:
            self._join()
        self.starts.extend(starts)
        self.held.update(zip(starts, data, strict=True))
        self.changed.update(dict.fromkeys(starts))

    def put(self, start: int, row: Row) -> None:
        """Store a row."""
        if self.held.get(start) is not row:
            starts = self.starts
            if not starts or start > starts[-1]:
                starts.append(start)
            elif not self._has(start):
                insort(starts, start)
            self._hold(start, row)
        elif not self._is_active:
            self._join()
        self.changed[start] = None

    def delete(self, start: int) -> None:
        """Forget a row."""
        if self._has(start):
            del self.starts[bisect_left(self.starts, start)]
            self._hold(start, None)
            self.changed[start] = None

    def touch(self, start: int) -> None:
        """Have the row at ``start`` stored again, changed or not."""
        if start not in self.changed:
            self._hold(start, self.get(start))  # also joins the batch
            self.changed[start] = None

    def before(self, start: int) -> int | None:
        """Start of the nearest earlier row."""
        starts = self.starts
        if not starts:
            return None
        if start > starts[-1]:
            return starts[-1]
        index = bisect_left(starts, start)
        return starts[index - 1] if index else None

    def after(self, start: int) -> int | None:
        """Start of the nearest later row."""
        starts = self.starts
        index = bisect_right(starts, start)
        return starts[index] if index < len(starts) else None

    def _has(self, start: int) -> bool:
        starts = self.starts
        if not starts or start > starts[-1]:
            return False
        return starts[bisect_left(starts, start)] == start

    def end_batch(self) -> bool:
        """Hold nothing but the newest row, which the next batch most likely asks for; whether there is one."""
        newest = self.held.get(self.starts[-1]) if self.starts else None
        self.held.clear()
        self.changed.clear()
        self._is_active = False
        if not isinstance(newest, Row):
            return False
        self.held[self.starts[-1]] = newest
        return True

    def let_go(self) -> None:
        """Hold nothing, between batches."""
        self.held.clear()

    def _hold(self, start: int, row: Row | bytes | None) -> None:
        if not self._is_active:
            self._join()
        self.held[start] = row

    def _join(self) -> None:
        self._is_active = True
        self._active.append(self)


class Rows:
    """The rows of one partition. By itself it holds all of them, in memory; a subclass reads those not held.

    ``trading`` tells the trading dates that their windows are cut by.
    """

    def __init__(self, trading: Trading | None = None) -> None:
        self.trading = trading or Trading()
        self._series: dict[tuple[str, Key], Series] = {}
        self._active: list[Series] = []

    def series(self, interval: str, key: Key) -> Series:
        """Those of one interval and key, there may be none yet."""
        found = self._series.get((interval, key))
        if found is None:
            found = self._series[interval, key] = Series(interval, key, self._read, self._active)
        return found

    def get(self, at: Address) -> Row | None:
        """The row at an address."""
        return self.series(at[0], at[1]).get(at[2])

    def put(self, at: Address, row: Row) -> None:
        """Store a row."""
        self.series(at[0], at[1]).put(at[2], row)

    def delete(self, at: Address) -> None:
        """Forget a row."""
        self.series(at[0], at[1]).delete(at[2])

    def before(self, at: Address) -> int | None:
        """Start of the nearest earlier row of the same interval and key."""
        return self.series(at[0], at[1]).before(at[2])

    def after(self, at: Address) -> int | None:
        """Start of the nearest later row of the same interval and key."""
        return self.series(at[0], at[1]).after(at[2])

    def addresses(self, interval: str) -> Iterator[Address]:
        """Every address of an interval, by symbol, session and start."""
        for kind, key in sorted(self._series):
            if kind == interval:
                for start in self._series[kind, key].starts:
                    yield kind, key, start

    def _read(self, at: Address) -> Row | None:
        """A row that is stored elsewhere."""
        raise LookupError(f"no row is stored elsewhere: {at}")
