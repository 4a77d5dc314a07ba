"""Keeps one WebSocket connection of a venue up, whatever happens to it, and says in the stream what was missed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from websockets.exceptions import ConnectionClosed, WebSocketException

from stockstream.core.backoff import full_jitter
from stockstream.errors import InvalidInput
from stockstream.models import Tick
from stockstream.sources.contract import Emit, Feed, Offer, Poll
from stockstream.sources.coverage import Coverage
from stockstream.sources.failure import asked_wait_s, cause_of, fatal_reason
from stockstream.sources.intake import Intake
from stockstream.sources.limits import Pace, Window, attempts_of
from stockstream.sources.line import Line, Socket, Timing
from stockstream.sources.opening import open_websocket
from stockstream.sources.polling import Poller
from stockstream.sources.renewal import Renewal
from stockstream.sources.status import State, Status, SymbolStatus
from stockstream.sources.watchdog import Watchdog

__all__ = ["ConnectionRunner", "EmitFailed", "Socket", "Timing"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class EmitFailed(RuntimeError):
    """What takes the ticks has failed: not the venue's fault, so not retried here."""


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt ended: the cause, why it is fatal if it is, how long it lasted, how long to leave the venue be."""

    cause: str = "stopped"
    fatal: str | None = None
    lasted_s: float = 0.0
    pause_s: float = 0.0


class ConnectionRunner:
    """Supervises one connection for up to as many symbols as its feed allows.

    The frames that arrive together are parsed and awaited into ``emit`` before more are read. ``now_ms`` (epoch ms)
    stamps ticks and control records; ``offer``, if given, takes ticks without a task being woken up for them, whenever
    nothing has to be waited for; ``steady_s`` and ``sleep`` measure waiting; ``open_socket`` connects to a URL;
    ``name`` is the connection's in the log, the feed's if there is none. Runners that share an address share
    ``attempts``; ``poll`` is what the venue is asked beside its stream.
    """

    def __init__(
        self,
        feed: Feed,
        symbols: Iterable[str],
        emit: Emit,
        *,
        now_ms: Callable[[], int],
        offer: Offer | None = None,
        name: str | None = None,
        timing: Timing | None = None,
        open_socket: Callable[[str], Coroutine[Any, Any, Socket]] | None = None,
        attempts: Window | None = None,
        poll: Poll | None = None,
        steady_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.feed = feed
        self.status = Status(since_ms=now_ms())
        self._emit, self._now_ms, self._steady_s, self._sleep = emit, now_ms, steady_s, sleep
        self._timing = timing or Timing()
        self._offer = offer
        self._name = name or feed.name
        self._offer_error: EmitFailed | None = None
        self._open = open_socket or (lambda _: open_websocket(feed, self._timing.connect_s, self._timing.close_s))
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        limits = feed.capabilities
        self._attempts = attempts or attempts_of(limits, steady_s, sleep)
        self.coverage = Coverage(feed.name, round(1000 * limits.latency_s), round(1000 * limits.effective_after_s))
        self._lines: list[Line] = []  # all that are open: the one in use, and the one that is to replace it
        self._line: Line | None = None
        self._turn = asyncio.Lock()  # control records and ticks must not overtake each other
        self._stopping = asyncio.Event()
        self._is_emitting = False
        self._watchdog = Watchdog(
            feed, self._timing, is_busy=lambda: self._is_emitting, now_ms=now_ms, steady_s=steady_s, sleep=sleep
        )
        self._renewal = Renewal(
            self._name,
            limits.lifetime_s,
            self._timing,
            self.status,
            open_line=self._open_line,
            drop=self._drop,
            steady_s=steady_s,
            sleep=sleep,
            rng=self._rng,
        )
        self._poller = None if poll is None else Poller(poll, self.status, self._take_polled, now_ms, self._sleep)
        self._intake = Intake(
            feed,
            self.status,
            self.coverage,
            self._name,
            on_answer=self._stream_if_ready,
            on_tick=self._watchdog.reassure,
            steady_s=steady_s,
        )
        self._want(symbols)

    @property
    def room(self) -> int:
        """How many more symbols the connection can take."""
        return self.feed.capabilities.symbols_per_connection - len(self.status.symbols)

    async def run(self) -> None:
        """Keep the connection up until `stop`; raises only `EmitFailed`."""
        keeping = asyncio.create_task(self._keep_up())
        tasks = {keeping} if self._poller is None else {keeping, asyncio.create_task(self._poller.run(self._name))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
        self._enter("stopped")

    async def _keep_up(self) -> None:
        delays = self._delays()
        while not self._stopping.is_set():
            end = await self._attempt()
            if self._stopping.is_set():
                break
            if end.lasted_s >= self._timing.healthy_s:
                delays = self._delays()
            if end.fatal is None:
                wait_s = max(next(delays), end.pause_s)
                self._enter("waiting", end.cause)
                log.warning("%s: %s; trying again in %.1f s", self._name, end.cause, wait_s)
            else:
                wait_s = end.pause_s or self._timing.fatal_retry_s
                self._enter("failed", end.fatal)
                log.error("%s: %s; trying again in %.0f s", self._name, end.fatal, wait_s)
            await self._unless_stopped(self._sleep(wait_s))

    async def stop(self) -> None:
        """Close the connection in good order; what arrived before is still emitted, then `run` returns."""
        self._stopping.set()
        await asyncio.gather(*(line.socket.close() for line in list(self._lines)))

    async def add(self, symbols: Sequence[str]) -> None:
        """Subscribe more symbols, at once if there is a connection; raises `InvalidInput` if there is no room."""
        new = self._want(symbols)
        if not new:
            return
        for line in list(self._lines):
            try:
                await self._ask(line, new)
            except ConnectionClosed as error:
                log.info("%s: %s while subscribing: done on the next connection", self._name, cause_of(error))

    async def remove(self, symbols: Sequence[str]) -> None:
        """Unsubscribe symbols; what still arrives of them is not passed on."""
        async with self._turn:
            gone = [symbol for symbol in symbols if self.status.symbols.pop(symbol, None) is not None]
            self.coverage.removed(gone)
        if not gone:
            return
        for line in list(self._lines):
            line.answered(gone)
            try:
                await line.say(self.feed.unsubscribe(gone), self._steady_s)
            except ConnectionClosed as error:
                log.info("%s: %s while unsubscribing: no longer needed", self._name, cause_of(error))

    def _want(self, symbols: Iterable[str]) -> list[str]:
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self.status.symbols]
        if len(new) > self.room:
            raise InvalidInput(f"one connection to {self.feed.name} takes {self.room} more symbols, not {len(new)}")
        self.status.symbols.update({symbol: SymbolStatus() for symbol in new})
        return new

    async def _attempt(self) -> _End:
        """One connection to its end, those that take its place included."""
        self._enter("connecting", self.status.detail)
        self._line = None
        try:
            opened = await self._unless_stopped(self._connect())
            if opened is not None:
                await self._use(opened)
            return _End()
        except (OSError, WebSocketException) as error:
            return self._ended(error, self._line)

    def _ended(self, error: Exception, line: Line | None) -> _End:
        """What is to be said of the end of ``line``, or of an attempt that led to none."""
        fatal = fatal_reason(self.feed, error)
        if line is None:
            self.coverage.lost(0, cause_of(error))
            return _End(cause_of(error), fatal, pause_s=asked_wait_s(error))
        cause = line.verdict or cause_of(error)
        # Pongs prove that nothing was lost on the way, not that a silent venue had nothing to say.
        self.coverage.lost(line.frame_ms if cause == "silent" else line.alive_ms, cause)
        return _End(cause, line.fatal or fatal, self._steady_s() - line.opened_s)

    async def _connect(self) -> Socket:
        await self._attempts.turn()
        try:
            return await self._open(self.feed.url)
        except WebSocketException as error:
            self._attempts.hold(asked_wait_s(error))
            raise

    async def _use(self, opened: Socket) -> None:
        """Subscribe everything, then read until the connection and those after it end, which raises."""
        try:
            self._line = line = self._made(opened)
            await self._begin(line)
            self._stream_if_ready(line)
            await self._serve(line)
        except asyncio.CancelledError:
            for each in self._lines:
                if each.reader is not None:
                    each.reader.cancel()
            raise
        finally:
            for each in list(self._lines):
                await self._drop(each)

    async def _serve(self, line: Line) -> None:
        while True:
            reader = cast("asyncio.Task[None]", line.reader)
            renewing = asyncio.create_task(self._renewal.successor(line))
            try:
                await asyncio.wait((reader, renewing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not renewing.done():
                    renewing.cancel()
                    await asyncio.wait((renewing,))
            if renewing.cancelled():
                reader.result()  # raises what ended it
            self._line, old = renewing.result(), line
            self.status.renewals += 1
            log.info("%s: renewed after %.0f s", self._name, self._steady_s() - old.opened_s)
            await self._drop(old)
            line = self._line

    def _made(self, opened: Socket) -> Line:
        every_s = self.feed.capabilities.command_every_s
        line = Line(opened, Pace(every_s, steady_s=self._steady_s, sleep=self._sleep), self._steady_s())
        line.heard(self._now_ms(), self._steady_s())
        self._lines.append(line)
        return line

    async def _open_line(self) -> Line:
        """Another connection beside the one in use, with everything asked for on it."""
        line = self._made(await self._connect())
        try:
            await self._begin(line)
        except BaseException:
            await self._drop(line)
            raise
        return line

    async def _begin(self, line: Line) -> None:
        """Ask for everything on a new line, and have it read and watched."""
        if self.feed.capabilities.confirms:
            self._attend(line)
            await self._ask(line, list(self.status.symbols))
        else:
            await self._ask(line, list(self.status.symbols))
            self._attend(line)

    def _attend(self, line: Line) -> None:
        line.heard(self._now_ms(), self._steady_s())
        line.reader = asyncio.create_task(self._read(line))
        line.watch = asyncio.create_task(self._watchdog.watch(line))
        if self._offer is not None:
            line.socket.take = partial(self._take_at_once, line)

    async def _drop(self, line: Line) -> None:
        """Close a line; what arrived on it before is still emitted."""
        if line.watch is not None:
            line.watch.cancel()
        await line.socket.close()
        self._lines.remove(line)
        if line.reader is None:
            return
        await asyncio.wait((line.reader,))
        if not line.reader.cancelled() and isinstance(error := line.reader.exception(), EmitFailed):
            raise error

    async def _ask(self, line: Line, symbols: Sequence[str]) -> None:
        """Subscribe symbols on a line; covered they are a moment later, or when the venue confirms it."""
        if self.feed.capabilities.confirms:
            if symbols:
                line.unconfirmed.update(symbols)
                line.asked_s = self._steady_s()
                await line.say(self.feed.subscribe(symbols, self._now_ms()), self._steady_s)
            return
        async with self._turn:
            if not (symbols := [symbol for symbol in symbols if symbol in self.status.symbols]):
                return
            await line.say(self.feed.subscribe(symbols, self._now_ms()), self._steady_s)
            await self._give(self._intake.covered(symbols, self._now_ms()))  # paced commands take their time

    def _stream_if_ready(self, line: Line) -> None:
        if line is self._line and self.status.state == "connecting" and not line.unconfirmed:
            self.status.connections += 1
            self._enter("streaming")
            log.info("%s: %d symbols subscribed at %s", self._name, len(self.status.symbols), self.feed.url)

    async def _read(self, line: Line) -> None:
        while True:
            # As bytes: a text that is no UTF-8 is a bad frame, and not the end of the connection.
            frames = await line.socket.receive()
            line.is_taking = True
            async with self._turn:
                await self._take(line, frames)
            line.is_taking = False

    async def _take(self, line: Line, frames: Sequence[bytes]) -> None:
        if self._offer_error is not None:
            raise self._offer_error
        received_ms = self._now_ms()
        known = self._intake.parse(line, frames, received_ms)
        if known:
            await self._give(known)
        # The steady time is that of now: waiting for Kafka is not the venue's silence.
        line.heard(received_ms, self._steady_s())

    def _take_at_once(self, line: Line, frames: Sequence[bytes]) -> bool:
        """Take frames as they arrive, unless somebody has to be waited for; then they stay where they are."""
        offer = self._offer
        if offer is None or line.is_taking or self._turn.locked() or self._offer_error is not None or not offer(()):
            return False
        received_ms = self._now_ms()
        known = self._intake.parse(line, frames, received_ms)
        try:
            offer(known)
        except Exception as error:
            self._offer_error = self._emit_failed(error)
            return False
        line.heard(received_ms, self._steady_s())
        return True

    async def _take_polled(self, ticks: Sequence[Tick]) -> None:
        async with self._turn:
            received_ms = self._now_ms()
            known = [tick for tick in ticks if self._intake.knows(tick, received_ms)]
            if known:
                await self._give(known)

    async def _give(self, ticks: Sequence[Tick]) -> None:
        self._is_emitting = True
        try:
            await self._emit(ticks)
        except Exception as error:
            raise self._emit_failed(error) from error
        finally:
            self._is_emitting = False

    def _emit_failed(self, error: Exception) -> EmitFailed:
        return EmitFailed(f"the ticks of {self.feed.name} are not taken: {error!r}")

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What ``work`` returns, or None when `stop` is called before."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.wait((task, stop))

    def _delays(self) -> Iterator[float]:
        return full_jitter(self._timing.backoff_base_s, self._timing.backoff_cap_s, self._rng)

    def _enter(self, state: State, detail: str = "") -> None:
        self.status.state, self.status.since_ms, self.status.detail = state, self._now_ms(), detail
