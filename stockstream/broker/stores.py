"""The stores of Faust's tables, row by row as bytes: read and written in whole batches, recovered in bulk.

Beside ``transport.py`` the other file that touches private names of Faust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from faust.types import TP
from rocksdict import WriteBatch

IsNewer = Callable[[bytes, bytes], bool]
"""(stored, arriving) → whether the arriving state of a row replaces the stored one."""


def absorb(app: Any, tp: TP, records: Sequence[Any], is_newer: IsNewer | None) -> None:
    """Apply the changelog records of one fetch to their table's store, and tell Faust's recovery how far it is."""
    recovery = app.tables.recovery
    is_active = tp in recovery.active_tps
    if not is_active and tp not in recovery.standby_tps:
        return
    offsets = recovery.active_offsets if is_active else recovery.standby_offsets
    seen = offsets.get(tp)
    store = PartitionStore(app.tables._changelogs[tp.topic], tp.partition)
    rows: dict[bytes, bytes | None] = {}
    for record in records:
        if seen is not None and record.offset <= seen:
            continue
        if is_newer is not None and record.value is not None:
            stored = rows[record.key] if record.key in rows else store.get(record.key)
            if stored is not None and not is_newer(stored, record.value):
                continue
        rows[record.key] = record.value
    last = records[-1].offset if seen is None else max(seen, records[-1].offset)
    store.write(rows.items(), persisted_offset=last)
    offsets[tp] = last
    if recovery.in_recovery and not recovery.need_recovery():
        recovery.flush_buffers()
        recovery._set_recovery_ended()
        recovery.signal_recovery_end.set()
    if not app.tables.standbys_ready and not recovery.standby_remaining_total():
        app.tables.on_standbys_ready()


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
