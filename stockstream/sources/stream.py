"""A WebSocket whose messages are taken as they come off the wire, all those of one read at once.

`websockets` connects, shakes hands, answers pings and closes. Only the plainest of frames, a whole unmasked message
of less than 64 KB, is cut out of the stream here; whatever else comes is left to its parser. That takes a tenth of the
time of its queue, with a task to wake up for each message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect

_TEXT, _BINARY = 0x81, 0x82
_CONTROL = (0x89, 0x8A)  # ping and pong; after a close everything is left to the parser
_SHORTEST, _SIZE_16, _SIZE_64 = 2, 126, 127
_END_OF_HEAD = b"\r\n\r\n"
_MOST_WAITING = 1024


class FrameStream(ClientConnection):
    """A client's connection with `receive` beside ``recv``; pass it to ``connect`` as ``create_connection``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._arrived: list[bytes] = []
        self._rest = b""
        self._waiter: asyncio.Future[None] | None = None
        self._is_ours = False  # whether the next byte begins a frame that the parser has seen nothing of
        self._is_paused = False
        self.take: Callable[[list[bytes]], bool] | None = None
        """May take messages as they arrive, before `receive` returns them; says whether it did."""

    async def receive(self) -> list[bytes]:
        """The messages that have arrived since, at least one, undecoded; raises `ConnectionClosed` after the last."""
        while not self._arrived and self._is_ours:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._arrived:
            return [await self.recv(decode=False)]
        arrived, self._arrived = self._arrived, []
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        return arrived

    def data_received(self, data: bytes) -> None:
        """Bytes from the transport."""
        if self._is_ours:
            self._split(data)
            return
        is_head = self.response is None
        super().data_received(data)
        if is_head and self.response is not None and data.find(_END_OF_HEAD) + len(_END_OF_HEAD) == len(data):
            self._is_ours = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has ended."""
        self._is_ours = False
        super().connection_lost(exc)
        self._wake()

    def _split(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end, arrived = 0, len(data), self._arrived
        is_first = not arrived
        while end - at >= _SHORTEST:
            kind, size, start = data[at], data[at + 1], at + 2
            if size == _SIZE_16:
                start = at + 4
                if start > end:
                    break
                size = data[at + 2] << 8 | data[at + 3]
            elif size >= _SIZE_64:
                self._leave_to_parser(data[at:])
                return
            stop = start + size
            if kind in _CONTROL and stop <= end:
                super().data_received(data[at:stop])
            elif kind not in (_TEXT, _BINARY, *_CONTROL):
                self._leave_to_parser(data[at:])
                return
            elif stop > end:
                break
            else:
                arrived.append(data[start:stop])
            at = stop
        self._rest = data[at:]
        if not arrived:
            return
        if is_first and self.take is not None and self.take(arrived):
            self._arrived = []
        else:
            self._wake()
            if len(arrived) > _MOST_WAITING and not self._is_paused:
                self._is_paused = True
                self.transport.pause_reading()

    def _leave_to_parser(self, data: bytes) -> None:
        self._is_ours, self._rest = False, b""
        super().data_received(data)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def open_stream(url: str, *, connect_s: float, close_s: float) -> FrameStream:
    """Connect; raises `OSError` and `WebSocketException`."""
    # Frames are small: compression would cost more than it saves. Pings are ours: Kafka's slowness must not count.
    opened = await connect(
        url,
        compression=None,
        open_timeout=connect_s,
        close_timeout=close_s,
        ping_interval=None,
        create_connection=FrameStream,
    )
    return cast(FrameStream, opened)
