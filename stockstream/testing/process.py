"""A server as a child process: started, stopped, killed, frozen, and its output kept."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stockstream.testing.fork_server import ForkedProcess
from stockstream.testing.wait import wait_until

HOST = "127.0.0.1"
_LOG_TAIL_BYTES = 4000


class ServerProcess:
    """One command that can be run again and again; what it prints is appended to ``log``."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.log = log

    @property
    def running(self) -> bool:
        """Whether the process is there; a frozen one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, or if it was never started."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        """Number of the process; raises ``RuntimeError`` if it was never started."""
        if self._process is None:
            raise RuntimeError(f"never started: {self._command[0]}")
        return self._process.pid

    def start(self) -> None:
        """Run the command; does not wait for the server to be ready."""
        if self.running:
            raise RuntimeError(f"already running: {self._command[0]}")
        with self.log.open("ab") as log:
            self._process = self._launch(log)

    def stop(self, timeout_s: float = 20) -> None:
        """End it by SIGTERM, and by SIGKILL when it has not ended within ``timeout_s``."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); does not wait for it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its sockets stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise ``RuntimeError`` with the end of its log if the process is gone."""
        if not self.running:
            raise RuntimeError(f"server ended early: {self._command[0]}\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last few kilobytes of what it printed."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes] | ForkedProcess:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment)

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        assert self._process is not None  # noqa: S101 - for mypy; check() has just seen it
        self._process.send_signal(number)


class SingleServer:
    """A server that is one process with a folder of its own; a context manager that leaves nothing behind.

    A subclass passes its command and says by ``_ready`` when it serves.
    """

    _READY_TIMEOUT_S = 90

    def __init__(self, root: Path, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._process = ServerProcess(command, root / "server.log", environment)

    def start(self) -> None:
        """Run it, on what data it has, and wait until it answers."""
        self._process.start()
        wait_until(self._answers, self._READY_TIMEOUT_S, type(self).__name__)

    def stop(self, timeout_s: float = 20) -> None:
        """End it in good order, and by SIGKILL when it has not ended within ``timeout_s``."""
        self._process.stop(timeout_s)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze it: connections are accepted and nothing is answered."""
        self._process.pause()

    def resume(self) -> None:
        """Let a frozen one go on."""
        self._process.resume()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _answers(self) -> bool:
        self._process.check()
        return self._ready()

    def _ready(self) -> bool:
        raise NotImplementedError

    def _close(self) -> None:
        self._process.kill()
        shutil.rmtree(self._root, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """``count`` loopback ports that nobody listens on.

    They lie below the range from which Linux numbers outgoing connections: a client that keeps knocking at the port
    of a server that is down would otherwise, sooner or later, be given that very port and connect to itself.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind((HOST, random.randrange(15_000, 32_000)))  # noqa: S311 - no secret
            except OSError:
                candidate.close()
            else:
                held.append(candidate)
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def http_status(port: int, method: str, path: str, body: bytes | None = None, timeout_s: float = 5) -> int | None:
    """The status with which a loopback HTTP server answers a JSON request, or None if it does not."""
    connection = HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
