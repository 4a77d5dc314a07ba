"""Owns the sockets: which connections fall to this worker, when they open, move and close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol

from mode import Service

from stockstream.agents.ingest_report import Reporter
from stockstream.agents.liveness import Alive, Liveness
from stockstream.core.allocation import ConnectionId, allocate
from stockstream.errors import BrokerUnreachable
from stockstream.models import Tick
from stockstream.sources.runner import ConnectionRunner
from stockstream.sources.status import Status
from stockstream.tables.subscriptions import Subscriptions

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.25
_TELL_EVERY_MS = 1000
_FLUSH_S = 1.0
_TAKEOVER_MS = 5000  # how long the worker before may still show that it was there when we had subscribed
_HAND_OVER_MS = 10_000  # how long we wait for the next one to have subscribed


class Emitter(Protocol):
    """Takes one source's ticks to Kafka."""

    async def send(self, ticks: Sequence[Tick]) -> None:
        """Accept ticks; slow while Kafka is slow."""

    async def flush(self, timeout_s: float) -> bool:
        """Whether all that was accepted is in Kafka."""


@dataclass(slots=True)
class _Held:
    """A connection that this worker has open."""

    runner: ConnectionRunner
    task: asyncio.Task[None]
    before: Alive | None
    effective_ms: int = 0
    leave_by_ms: int | None = None
    told_ms: int = 0


class Ingest(Service):
    """Keeps open the connections whose name falls on a partition of ``subscriptions`` that this worker owns.

    Every worker computes the same allocation of symbols to connections. When a connection moves, the new owner
    subscribes before the old one lets go; when its owner has died, the new one says in the ticks what was missed: a
    ``gap`` from the time until which the old one surely delivered.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        liveness: Liveness,
        *,
        emitters: Mapping[str, Emitter],
        symbols_per_connection: Callable[[str], int],
        make_runner: Callable[[ConnectionId, Sequence[str]], ConnectionRunner],
        partition_of: Callable[[bytes], int],
        owned: Callable[[], set[int] | None],
        has_peers: Callable[[], bool],
        reporter: Reporter,
        now_ms: Callable[[], int],
        connections: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        """``owned`` are the partitions that are ours, None while they move; ``has_peers``: other workers run.

        ``connections``: how many of a source may be open at a time, by all workers together; None: any number.
        """
        super().__init__()
        self._subscriptions = subscriptions
        self._liveness = liveness
        self._emitters = emitters
        self._symbols_per_connection = symbols_per_connection
        self._make_runner = make_runner
        self._partition_of = partition_of
        self._owned = owned
        self._has_peers = has_peers
        self._reporter = reporter
        self._now_ms = now_ms
        self._connections = connections
        self._left_out: dict[str, int] = {}
        self._held: dict[ConnectionId, _Held] = {}
        self._may_begin = asyncio.Event()

    def begin(self) -> None:
        """The emitters are connected, and what is watched was read: open what is ours."""
        self._may_begin.set()

    def status(self) -> dict[ConnectionId, Status]:
        """What each open connection is doing."""
        return {connection: held.runner.status for connection, held in self._held.items()}

    @Service.task
    async def _keep(self) -> None:
        await self.wait_for_stopped(self._may_begin)  # type: ignore[arg-type]  # anything with wait()
        while not self.should_stop:
            await self._look()
            self._subscriptions.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._subscriptions.changed.wait(), _LOOK_EVERY_S)

    async def on_stop(self) -> None:
        """Let go of everything, after others have taken over if there are any."""
        deadline_ms = self._now_ms() + _HAND_OVER_MS
        await asyncio.gather(
            *(self._close(connection) for connection in list(self._held) if self._is_limited(connection))
        )
        while self._has_peers() and self._now_ms() < deadline_ms and not self._all_taken_over():
            await self._tell_alive()
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.gather(*(self._close(connection) for connection in list(self._held)))

    async def _look(self) -> None:
        owned = self._owned()
        if owned is not None and self._subscriptions.follower.ready and self._liveness.follower.ready:
            wanted = {
                connection: symbols
                for connection, symbols in self._allocated().items()
                if self._partition_of(str(connection).encode()) in owned
            }
            await self._reconcile(wanted)
        for connection, held in list(self._held.items()):
            if held.task.done():
                held.task.result()  # it ends by an error of ours only, which must end the worker
            await self._account_for(connection, held)
        await self._tell_alive()
        self._reporter.look({connection: held.runner for connection, held in self._held.items()})

    async def _reconcile(self, wanted: Mapping[ConnectionId, Sequence[str]]) -> None:
        for connection, symbols in wanted.items():
            held = self._held.get(connection)
            if held is None:
                self._open(connection, symbols)
                continue
            held.leave_by_ms = None
            known = held.runner.status.symbols
            await held.runner.remove([symbol for symbol in known if symbol not in symbols])
            await held.runner.add([symbol for symbol in symbols if symbol not in known])
        for connection, held in list(self._held.items()):
            if connection in wanted:
                continue
            if held.leave_by_ms is None:
                held.leave_by_ms = self._now_ms() + _HAND_OVER_MS
            is_gone = connection not in self._allocated()
            # Where connections are counted the next owner gets none while we have ours.
            if (
                is_gone
                or self._is_limited(connection)
                or self._liveness.taken_over(connection)
                or self._now_ms() >= held.leave_by_ms
            ):
                await self._close(connection, is_gone)

    def _allocated(self) -> Mapping[ConnectionId, Sequence[str]]:
        # Those of sources that no topic of ours is for are others' business.
        ours = [each for each in self._subscriptions.watched.values() if each.source in self._emitters]
        allocated = allocate(ours, self._symbols_per_connection)
        beyond = [each for each in allocated if each.number >= (self._connections(each.source) or inf)]
        left_out = {each.source: 0 for each in beyond}
        for each in beyond:
            left_out[each.source] += len(allocated.pop(each))
        for source, count in left_out.items():
            if self._left_out.get(source) != count:
                log.error(
                    "%s: %d symbols are not watched, there is no room for them: unsubscribe others", source, count
                )
        self._left_out = left_out
        return allocated

    def _is_limited(self, connection: ConnectionId) -> bool:
        return self._connections(connection.source) is not None

    def _open(self, connection: ConnectionId, symbols: Sequence[str]) -> None:
        runner = self._make_runner(connection, symbols)
        before = self._liveness.of(connection)
        if before is not None:
            runner.coverage.inherit(symbols)
        task = asyncio.create_task(runner.run())
        self._held[connection] = _Held(runner, task, before)
        log.info("%s: opening for %d symbols", connection, len(symbols))

    async def _close(self, connection: ConnectionId, is_gone: bool = False) -> None:
        """Let go of a connection; ``is_gone``: nobody is to have it any more."""
        held = self._held.pop(connection)
        # Neither the time that closing takes nor that of a connection that was down may count as watched.
        until_ms = self._now_ms() if _delivers(held) else None
        await held.runner.stop()
        await held.task
        self._reporter.closed(connection, held.runner.status)
        is_written = await self._emitters[connection.source].flush(_HAND_OVER_MS / 1000)
        with suppress(BrokerUnreachable):
            if is_gone:
                await self._liveness.forget(connection)
            elif is_written and until_ms is not None and not self._liveness.taken_over(connection):
                await self._liveness.tell(connection, until_ms)
        log.info("%s: closed", connection)

    async def _account_for(self, connection: ConnectionId, held: _Held) -> None:
        """Once subscribed: tell the hole since the worker before, unless it was still there at that time."""
        status = held.runner.status
        if held.before is None or not status.connections:
            return
        if not held.effective_ms:
            held.effective_ms = status.since_ms + held.runner.coverage.effective_after_ms
        latest = self._liveness.of(connection)
        until_ms = held.before.until_ms
        if latest is not None and latest.worker == held.before.worker:
            until_ms = max(until_ms, latest.until_ms)
        if until_ms >= held.effective_ms:
            held.before = None
        elif self._now_ms() >= held.effective_ms + _TAKEOVER_MS:
            held.before = None
            log.warning("%s: taken over with a hole of %d ms", connection, held.effective_ms - until_ms)
            await self._emitters[connection.source].send(
                [
                    _hole(connection, symbol, until_ms - held.runner.coverage.latency_ms, held.effective_ms)
                    for symbol in list(status.symbols)
                ]
            )

    async def _tell_alive(self) -> None:
        now_ms = self._now_ms()
        due = [
            connection
            for connection, held in self._held.items()
            if _delivers(held) and now_ms - held.told_ms >= _TELL_EVERY_MS
        ]
        for source in {connection.source for connection in due}:
            if not await self._emitters[source].flush(_FLUSH_S):
                continue
            for connection in due:
                if connection.source == source:
                    self._held[connection].told_ms = now_ms
                    with suppress(BrokerUnreachable):
                        await self._liveness.tell(connection, now_ms)

    def _all_taken_over(self) -> bool:
        return all(self._liveness.taken_over(connection) for connection in self._held)


def _delivers(held: _Held) -> bool:
    """Whether it is connected, and has told what was missed before."""
    return held.before is None and held.runner.status.state == "streaming"


def _hole(connection: ConnectionId, symbol: str, first_ms: int, until_ms: int) -> Tick:
    return Tick(
        symbol,
        first_ms,
        kind="gap",
        producer_timestamp=until_ms,
        source=connection.source,
        until=until_ms,
        cause="worker lost",
    )
