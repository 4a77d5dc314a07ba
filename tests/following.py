"""A client of `/stream` that keeps what comes."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from threading import Thread
from types import TracebackType
from typing import Any, Self

from stockstream.testing.process import HOST
from stockstream.testing.system import WorkerProcess
from stockstream.testing.wait import wait_until

_PATIENCE_S = 30


class Following:
    """Follows what a query asks for, from a thread of its own; open it with ``with``.

    ``candles`` are those of the snapshot and of the events behind it, in the order in which they came.
    """

    def __init__(self, worker: WorkerProcess, query: str) -> None:
        self._connection = HTTPConnection(HOST, worker.port)
        self._query = query
        self._thread = Thread(target=self._read, daemon=True)
        self._has_begun = False
        self.candles: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._connection.request("GET", f"/stream?{self._query}")
        self._thread.start()
        wait_until(lambda: self._has_begun, _PATIENCE_S, "the snapshot")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(_PATIENCE_S)
        self._connection.close()

    def _read(self) -> None:
        answer, kind = self._connection.getresponse(), ""
        while line := answer.readline():
            name, _, text = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = text
            elif name == "data" and kind == "candle":
                self.candles.append(json.loads(text))
            elif name == "data" and kind == "snapshot":
                self.candles += [
                    {**candle, "symbol": series["symbol"], "session": series["session"]}
                    for series in json.loads(text)["candles"]
                    for candle in series["candles"]
                ]
                self._has_begun = True
