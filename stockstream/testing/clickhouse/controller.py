"""The test's side: starts the server process, ends it, and orders faults."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from stockstream.testing.clickhouse.faults import FaultMode
from stockstream.testing.process import HOST, SingleServer, free_ports, http_status


class ClickHouseFacade(SingleServer):
    """A ClickHouse that clients reach over HTTP.

    What was acknowledged survives ``stop``, ``kill`` and ``start``; it is gone when the context is left.
    """

    def __init__(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="stockstream-clickhouse-"))
        self._port, self._control_port = free_ports(2)
        command = [sys.executable, "-m", "stockstream.testing.clickhouse", str(root / "data")]
        super().__init__(root, [*command, str(self._port), str(self._control_port)], os.environ | {"TZ": "UTC"})

    @property
    def host(self) -> str:
        """The loopback address."""
        return HOST

    @property
    def port(self) -> int:
        """The HTTP port; the same after every start."""
        return self._port

    @property
    def url(self) -> str:
        """What goes into ``CLICKHOUSE_URL``."""
        return f"http://{HOST}:{self._port}"

    def fault(self, mode: FaultMode | str, count: int = 1, seconds: float = 60, match: str = "") -> None:
        """Let the next ``count`` requests whose SQL contains ``match`` fail; see ``FaultMode``.

        Faults queue up; ``refuse`` begins at once and ends after ``seconds`` or with ``clear``.
        """
        order = {"mode": FaultMode(mode), "count": count, "seconds": seconds, "match": match}
        self._control("PUT", json.dumps(order).encode())

    def clear(self) -> None:
        """Forget all faults; the port is open on return."""
        self._control("DELETE")

    def _control(self, method: str, body: bytes | None = None) -> None:
        self._process.check()
        status = http_status(self._control_port, method, "/faults", body)
        if status != 200:
            raise RuntimeError(f"the fault was not taken: {status}\n{self._process.log_tail()}")

    def _ready(self) -> bool:
        return http_status(self._port, "GET", "/ping") == 200
