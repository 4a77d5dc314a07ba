"""The stores of Faust's tables, row by row as bytes: read and written in whole batches, recovered in bulk.

Beside ``transport.py`` the other file that touches private names of Faust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from faust.types import TP
from rocksdict import WriteBatch

from stockstream.errors import StoreFailed
from stockstream.models.records import Records

IsNewer = Callable[[bytes, bytes], bool]
"""(stored, arriving) → whether the arriving state of a row replaces the stored one."""


_DISK_FAILURES = ("IO error: ", "No space left on device", "Disk quota exceeded")
"""How RocksDB, whose errors have no class and no number, begins to tell that the disk has failed it."""


def store_failure(error: BaseException, folder: str) -> StoreFailed | None:
    """What to tell of an error if it is the disk's that the stores lie on, None if it is another."""
    told = " ".join(str(error).split())
    if not told.startswith(_DISK_FAILURES):
        return None
    return StoreFailed(
        f"the stores in {folder} cannot be written ({told}): make room on their disk, or mend it, and start again"
    )


def absorb(app: Any, tp: TP, records: Records, is_newer: IsNewer | None) -> None:
    """Apply the changelog records of one fetch to their table's store, and tell Faust's recovery how far it is."""
    recovery = app.tables.recovery
    is_active = tp in recovery.active_tps
    if not is_active and tp not in recovery.standby_tps:
        return
    offsets = recovery.active_offsets if is_active else recovery.standby_offsets
    seen = offsets.get(tp)
    store = PartitionStore(app.tables._changelogs[tp.topic], tp.partition)
    begin = 0 if seen is None else int(np.searchsorted(records.offsets, seen, side="right"))
    rows = changes(records.pairs(begin), store, is_newer)
    last = records.offset(-1) if seen is None else max(seen, records.offset(-1))
    store.write(rows.items(), persisted_offset=last)
    offsets[tp] = last
    if recovery.in_recovery and not recovery.need_recovery():
        recovery.end()
    if not app.tables.standbys_ready and not recovery.standby_remaining_total():
        app.tables.on_standbys_ready()


def changes(
    pairs: Iterable[tuple[bytes, bytes | None]], store: PartitionStore, is_newer: IsNewer | None
) -> dict[bytes, bytes | None]:
    """What these states of rows, in the order of their log, change in the store. None deletes, whatever was there."""
    rows: dict[bytes, bytes | None] = {}
    if is_newer is None:
        rows.update(pairs)
        return rows
    deleted = set()
    for key, value in pairs:
        if value is None:
            deleted.add(key)
        elif (known := rows.get(key)) is not None and not is_newer(known, value):
            continue
        rows[key] = value
    asked = [key for key in rows if key not in deleted] if deleted else list(rows)
    for key, stored in zip(asked, store.get_all(asked), strict=True):
        value = rows[key]
        if stored is not None and value is not None and not is_newer(stored, value):
            del rows[key]
    return rows


class PartitionStore:
    """The store of one partition of a Faust table, addressed by encoded keys."""

    def __init__(self, table: Any, partition: int) -> None:
        """``table`` is the plain table, not its window wrapper."""
        self._data = table.data
        self._db = table.data._db_for_partition(partition)
        self.partition = partition
        self.changelog = table.changelog_topic_name

    def get(self, key: bytes) -> bytes | None:
        """The stored bytes of a key."""
        value: bytes | None = self._db.get(key)
        return value

    def get_all(self, keys: list[bytes]) -> list[bytes | None]:
        """The stored bytes of each key, read together."""
        values: list[bytes | None] = self._db.get(keys)
        return values

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, in the order of their bytes."""
        for key, value in self._db.items():
            if key != self._data.offset_key:
                yield key, value

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], persisted_offset: int | None = None) -> None:
        """Put rows (None deletes), atomically."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if persisted_offset is not None:
            batch.put(self._data.offset_key, str(persisted_offset).encode())
        self._db.write(batch)

    def advance(self, base: int, count: int) -> bool:
        """The changelog took ``count`` rows at ``base``: remember it if nobody else wrote in between."""
        if self._data._dbs.get(self.partition) is not self._db:
            return False
        tp = TP(self.changelog, self.partition)
        known = self._data.persisted_offset(tp)
        if base != (-1 if known is None else known) + 1:
            return False
        self._data.set_persisted_offset(tp, base + count - 1)
        return True


def forget_changelogs(app: Any) -> None:
    """Have every store take its changelog for unread: the brokers are new ones, and know nothing of the old log.

    The rows stay. Not while the app runs.
    """
    for table in app.tables._changelogs.values():
        for path in sorted(table.data.path.glob(f"{table.data.basename}-*.db")):
            store = table.data.rocksdb_options.open(path)
            store.delete(table.data.offset_key)
            store.close()
