"""Keeps one WebSocket connection of a venue up, whatever happens to it, and says in the stream what was missed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from websockets.exceptions import ConnectionClosed, WebSocketException

from stockstream.core.backoff import full_jitter
from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import Tick
from stockstream.sources.contract import Emit, Feed, Offer, PartlyBad
from stockstream.sources.coverage import Coverage
from stockstream.sources.failure import asked_wait_s, cause_of, fatal_reason
from stockstream.sources.opening import open_websocket
from stockstream.sources.status import State, Status, SymbolStatus, Throttle

log = logging.getLogger(__name__)
T = TypeVar("T")

_TELL_EVERY_S = 60.0
_LONGEST_PATIENCE = 16
_SAME_MOMENT_MS = 1000


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds.

    A connection that lasted ``healthy_s`` starts the back-off anew; one that was quiet for ``ping_after_s`` is asked
    for a sign of life; ``fatal_retry_s`` is the pace at which what only a human can mend is tried again.
    """

    connect_s: float = 10.0
    close_s: float = 3.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    healthy_s: float = 60.0
    watch_every_s: float = 1.0
    ping_after_s: float = 20.0
    pong_within_s: float = 20.0
    fatal_retry_s: float = 300.0


class Socket(Protocol):
    """What the runner needs of a `FrameStream`; all of it may raise `ConnectionClosed`."""

    take: Callable[[list[bytes]], bool] | None
    """May take messages as they arrive, before `receive` returns them; says whether it did."""

    async def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one; raises only when all of them have been taken."""
        ...

    async def send(self, message: str) -> None:
        """Send a text message."""
        ...

    async def ping(self) -> Awaitable[float]:
        """Send a ping; what it returns ends with the pong."""
        ...

    async def close(self) -> None:
        """Close in good order, within a time limit of its own; does not raise."""
        ...


class EmitFailed(RuntimeError):
    """What takes the ticks has failed: not the venue's fault, so not retried here."""


class ConnectionRunner:
    """Supervises one connection for up to as many symbols as its feed allows.

    The frames that arrive together are parsed and awaited into ``emit`` before more are read. ``now_ms`` (epoch ms)
    stamps ticks and control records; ``offer``, if given, takes ticks without a task being woken up for them, whenever
    nothing has to be waited for; ``steady_s`` and ``sleep`` measure waiting; ``open_socket`` connects to a URL;
    ``name`` is the connection's in the log, the feed's if there is none.
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
        self._coverage = Coverage(feed.name)
        self._socket: Socket | None = None
        self._turn = asyncio.Lock()  # control records and ticks must not overtake each other
        self._stopping = asyncio.Event()
        self._is_emitting = False
        self._is_taking = False  # frames are out of the socket's hands and not emitted yet
        self._verdict: str | None = None
        self._asked_wait_s = 0.0
        self._silences = 0
        self._frame_ms = self._alive_ms = 0
        self._frame_s = self._alive_s = 0.0
        self._bad, self._unasked = Throttle(_TELL_EVERY_S, steady_s), Throttle(_TELL_EVERY_S, steady_s)
        self._want(symbols)

    @property
    def room(self) -> int:
        """How many more symbols the connection can take."""
        return self.feed.capabilities.symbols_per_connection - len(self.status.symbols)

    async def run(self) -> None:
        """Keep the connection up until `stop`; raises only `EmitFailed`."""
        delays = self._delays()
        while not self._stopping.is_set():
            cause, reason, lasted_s = await self._attempt()
            if self._stopping.is_set():
                break
            if lasted_s >= self._timing.healthy_s:
                delays = self._delays()
            if reason is None:
                wait_s = max(next(delays), self._asked_wait_s)
                self._enter("waiting", cause)
                log.warning("%s: %s; trying again in %.1f s", self._name, cause, wait_s)
            else:
                wait_s = self._timing.fatal_retry_s
                self._enter("failed", reason)
                log.error("%s: %s; trying again in %.0f s", self._name, reason, wait_s)
            await self._unless_stopped(self._sleep(wait_s))
        self._enter("stopped")

    async def stop(self) -> None:
        """Close the connection in good order; what arrived before is still emitted, then `run` returns."""
        self._stopping.set()
        if self._socket is not None:
            await self._socket.close()

    async def add(self, symbols: Sequence[str]) -> None:
        """Subscribe more symbols, at once if there is a connection; raises `InvalidInput` if there is no room."""
        async with self._turn:
            new = self._want(symbols)
            if self._socket is not None and new:
                try:
                    await self._subscribe(self._socket, new)
                except ConnectionClosed as error:
                    log.info("%s: %s while subscribing: done on the next connection", self._name, cause_of(error))

    async def remove(self, symbols: Sequence[str]) -> None:
        """Unsubscribe symbols; what still arrives of them is not passed on."""
        async with self._turn:
            gone = [symbol for symbol in symbols if self.status.symbols.pop(symbol, None) is not None]
            self._coverage.removed(gone)
            if self._socket is None or not gone:
                return
            try:
                await self._command(self._socket, self.feed.unsubscribe(gone))
            except ConnectionClosed as error:
                log.info("%s: %s while unsubscribing: no longer needed", self._name, cause_of(error))

    def _want(self, symbols: Iterable[str]) -> list[str]:
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self.status.symbols]
        if len(new) > self.room:
            raise InvalidInput(f"one connection to {self.feed.name} takes {self.room} more symbols, not {len(new)}")
        self.status.symbols.update({symbol: SymbolStatus() for symbol in new})
        return new

    async def _attempt(self) -> tuple[str, str | None, float]:
        """One connection to its end: the cause of that, why it is fatal if it is, and how long it lasted (s)."""
        self._enter("connecting", self.status.detail)
        self._verdict, self._asked_wait_s = None, 0.0
        opened_s = None
        try:
            opened = await self._unless_stopped(self._open(self.feed.url))
            if opened is None:
                return "stopped", None, 0.0
            opened_s = self._steady_s()
            await self._use(opened)
            return "stopped", None, 0.0
        except (OSError, WebSocketException) as error:
            cause = self._verdict or cause_of(error)
            # Pongs prove that nothing was lost on the way, not that a silent venue had nothing to say.
            self._coverage.lost(self._frame_ms if cause == "silent" else self._alive_ms, cause)
            self._asked_wait_s = asked_wait_s(error)
            lasted_s = 0.0 if opened_s is None else self._steady_s() - opened_s
            return cause, fatal_reason(self.feed, error), lasted_s

    async def _use(self, opened: Socket) -> None:
        """Subscribe everything, then read until the connection ends, which raises."""
        watch = None
        try:
            async with self._turn:
                self._socket, self._is_taking = opened, False
                await self._subscribe(opened, list(self.status.symbols))
                self._heard(self._now_ms())
            self.status.connections += 1
            self._enter("streaming")
            log.info("%s: %d symbols subscribed at %s", self._name, len(self.status.symbols), self.feed.url)
            if self._stopping.is_set():
                return
            watch = asyncio.create_task(self._watch(opened))
            if self._offer is not None:
                opened.take = self._take_at_once
            while True:
                # As bytes: a text that is no UTF-8 is a bad frame, and not the end of the connection.
                frames = await opened.receive()
                self._is_taking = True
                async with self._turn:
                    await self._take(frames)
                self._is_taking = False
        finally:
            self._socket = None
            if watch is not None:
                watch.cancel()
            await opened.close()

    async def _subscribe(self, opened: Socket, symbols: Sequence[str]) -> None:
        if not symbols:
            return
        await self._command(opened, self.feed.subscribe(symbols, self._now_ms()))
        await self._give(self._coverage.subscribed(symbols, self._now_ms()))

    async def _command(self, opened: Socket, frames: Sequence[str]) -> None:
        for number, frame in enumerate(frames):
            if number and self.feed.capabilities.command_every_s:
                await self._sleep(self.feed.capabilities.command_every_s)
            await opened.send(frame)

    async def _take(self, frames: Sequence[bytes]) -> None:
        if self._offer_error is not None:
            raise self._offer_error
        received_ms = self._now_ms()
        known = self._parse(frames, received_ms)
        if known:
            await self._give(known)
        self._heard(received_ms)

    def _take_at_once(self, frames: Sequence[bytes]) -> bool:
        """Take frames as they arrive, unless somebody has to be waited for; then they stay where they are."""
        offer = self._offer
        if offer is None or self._is_taking or self._turn.locked() or self._offer_error is not None or not offer(()):
            return False
        received_ms = self._now_ms()
        known = self._parse(frames, received_ms)
        try:
            offer(known)
        except Exception as error:
            self._offer_error = self._emit_failed(error)
            return False
        self._heard(received_ms)
        return True

    def _parse(self, frames: Sequence[bytes], received_ms: int) -> list[Tick]:
        parse = self.feed.parse
        self.status.frames += len(frames)
        known: list[Tick] = []
        for frame in frames:
            try:
                ticks = parse(frame, received_ms)
            except BadMessage as error:
                self._tell_bad(error)
                ticks = error.ticks if isinstance(error, PartlyBad) else []
            for tick in ticks:
                if self._is_known(tick, received_ms):
                    known.append(tick)
        return known

    def _tell_bad(self, error: BadMessage) -> None:
        self.status.bad_frames += 1
        if (count := self._bad.due()) is not None:
            log.warning("%s: %d bad frames, the last: %s", self._name, count, error)

    def _is_known(self, tick: Tick, received_ms: int) -> bool:
        seen = self.status.symbols.get(tick.symbol)
        if seen is None:
            self.status.unasked += 1
            if (count := self._unasked.due()) is not None:
                log.warning("%s: %d ticks that nobody asked for, the last of %s", self._name, count, tick.symbol)
            return False
        if 0 <= seen.received_ms - received_ms < _SAME_MOMENT_MS:
            # Snapshots of one second are ordered by their reception: two of a symbol must not share a millisecond.
            tick.producer_timestamp = received_ms = seen.received_ms + 1
        seen.ticks += 1
        seen.event_ms, seen.received_ms = tick.event_time, received_ms
        if self._silences and tick.kind != "quote":
            self._silences = 0
        return True

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

    def _heard(self, received_ms: int) -> None:
        # The steady times are those of now: waiting for Kafka is not the venue's silence.
        self._frame_ms = self._alive_ms = received_ms
        self._frame_s = self._alive_s = self._steady_s()

    async def _watch(self, opened: Socket) -> None:
        """Close a connection that is silent while the venue is open, or does not answer a ping."""
        while self._verdict is None:
            await self._sleep(self._timing.watch_every_s)
            if self._is_emitting:
                continue
            now_s = self._steady_s()
            if not self.feed.is_open(self._now_ms()):
                self._frame_s = now_s
            patience_s = self.feed.capabilities.silence_s
            if not self.feed.capabilities.heartbeat:
                patience_s *= min(2**self._silences, _LONGEST_PATIENCE)
            if now_s - self._frame_s >= patience_s:
                # Perhaps its symbols are just not traded: wait longer the next time, until a tick comes.
                self._silences += 1
                self._verdict = "silent"
            elif now_s - self._alive_s >= self._timing.ping_after_s and not await self._answers(opened):
                self._verdict = "unresponsive"
        await opened.close()

    async def _answers(self, opened: Socket) -> bool:
        """Whether a pong, a frame or the connection's own end comes in time."""
        frames = self.status.frames
        try:
            pong = asyncio.ensure_future(await opened.ping())
        except ConnectionClosed:
            return True
        timer = asyncio.ensure_future(self._sleep(self._timing.pong_within_s))
        try:
            await asyncio.wait((pong, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if not pong.done():
            pong.cancel()
            return self._is_emitting or self.status.frames > frames
        if not pong.cancelled() and pong.exception() is None:
            self._alive_ms, self._alive_s = self._now_ms(), self._steady_s()
        return True

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
