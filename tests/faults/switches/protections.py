"""What takes a protection away, each by its name, in a worker: replaces the few functions that it consists of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from faust import App
from faust.tables.recovery import Recovery
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver

from stockstream.agents import processor
from stockstream.agents.processor import CandleProcessor
from stockstream.broker import transport
from stockstream.broker.recovery import BulkRecovery
from stockstream.broker.stores import PartitionStore
from stockstream.core.engine import Engine
from stockstream.tables import Tables
from stockstream.tables.rows import StoreRows


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    if name not in vars(owner):
        raise RuntimeError(f"{owner.__name__}.{name} is gone: tell this switch what the protection consists of now")
    setattr(owner, name, make(getattr(owner, name)))


def guard() -> None:
    """A row does not say which ticks it has taken."""

    def forgetful(open_row: Any) -> Any:
        def open_new(self: Engine, *args: Any) -> Any:
            found = open_row(self, *args)
            found.guard = -1
            return found

        return open_new

    _replace(Engine, "_open", forgetful)


def echo() -> None:
    """What replayed ticks do not change is neither logged nor published again."""

    def only_changed(take: Any) -> Any:
        def take_changed(self: StoreRows, touched: Any) -> Any:
            changes = take(self, touched)
            return {
                interval: [(key, row) for key, row in pairs if self._stores[interval].get(key) != row]
                for interval, pairs in changes.items()
            }

        return take_changed

    _replace(StoreRows, "take", only_changed)


def retelling() -> None:
    """Rows that had closed where reading goes on are not told again."""
    _replace(Engine, "_tell_again", lambda _: lambda self: [])


def lease() -> None:
    """Whatever is in the producer leaves, however long the process was stopped."""
    _replace(transport.Lease, "holds", lambda _: lambda self: True)


def contiguous() -> None:
    """A store's changelog offset jumps over what others wrote."""

    def jump(_: Any) -> Any:
        def advance(self: PartitionStore, base: int, count: int) -> bool:
            if self._data._dbs.get(self.partition) is self._db:
                tp = transport.TP(self.changelog, self.partition)
                self._data.set_persisted_offset(tp, base + count - 1)
            return True

        return advance

    _replace(PartitionStore, "advance", jump)


def newest() -> None:
    """In recovery the later record wins, not the newer row."""
    _replace(Tables, "is_newer", lambda _: lambda self, latest_is_newer: lambda topic: None)


def poison() -> None:
    """A failed send is forgotten, as Faust does it."""
    _replace(transport, "poison", lambda _: lambda app, topic, error: None)


def commits() -> None:
    """What could not be committed counts as committed, as in Faust."""
    _replace(processor, "committed_offset", lambda _: lambda app, tp: app.consumer._committed_offset[tp] or 0)


def gate() -> None:
    """Records are taken whenever the partition is active, as Faust does it."""
    _replace(transport._Gate, "__contains__", lambda _: lambda self, tp: tp in self._consumer._active_partitions)


def continuity() -> None:
    """A fetch is taken wherever it begins."""

    def anyhow(_: Any) -> Any:
        async def continues(self: CandleProcessor, tp: Any, fetch: Any, generation: int) -> bool:
            return True

        return continues

    _replace(CandleProcessor, "_continues", anyhow)


def recovery() -> None:
    """The end of one recovery counts for the next one too, as in Faust."""

    def end(self: Recovery) -> None:  # what `absorb` calls, with nothing that keeps it from the next recovery
        self._set_recovery_ended()
        self.signal_recovery_end.set()

    _replace(BulkRecovery, "end", lambda _: end)  # must be there
    Recovery.end = end
    _replace(transport, "recover_in_bulk", lambda _: lambda app: None)


def acks() -> None:
    """What may be committed is found by Faust's own bookkeeping of gaps."""
    _replace(transport.BatchConsumer, "_new_offset", lambda _: driver.Consumer._new_offset)


def tables() -> None:
    """Partitions are worked on although the group gave us none of their tables."""
    _replace(transport, "partitions_without_rows", lambda _: lambda app, sources: [])


def late_tables() -> None:
    """No protection: joins the group without its tables, as a worker does that is stopped while it starts."""

    def without_changelogs(update: Any) -> Any:
        async def update_indices(self: Any) -> list[str]:
            return [name for name in await update(self) if not name.endswith("-changelog")]

        return update_indices

    _replace(Conductor, "_update_indices", without_changelogs)


def slow_seek() -> None:
    """No protection: widens the window between positioning and the clearing of Faust's queues."""

    def slow(seek: Any) -> Any:
        async def perform_seek(self: Any) -> None:
            await seek(self)
            await asyncio.sleep(0.3)

        return perform_seek

    _replace(transport.BatchConsumer, "perform_seek", slow)


def slow_end() -> None:
    """No protection: a worker that has to end works on for a moment, as it does on a starved machine."""

    def slow(crash: Any) -> Any:
        async def crash_later(self: Any, reason: BaseException) -> None:
            await asyncio.sleep(1)
            await crash(self, reason)

        return crash_later

    App.crash = slow(App.crash)
