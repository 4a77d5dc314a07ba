"""Commands of ours that begin with everything imported: forked from a process that has done it, once for all of them.

What a worker imports takes two thirds of the processor time of its start, and a run of the tests has hundreds. All
else is as in a process of its own: its environment, its output, its signals, and how it ends.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from runpy import run_module
from typing import IO

from stockstream.loading import loading

_IMPORTED = ("faust.cli.faust", "faust.cli.worker", "stockstream.worker", "stockstream.cli.main")
_COMMANDS = ("doctor", "produce", "replay", "settings")
_LONGEST = 1 << 17  # bytes of an environment
_ENDS = select.POLLIN | select.POLLHUP


class ForkedProcess:
    """What `subprocess.Popen` tells of a process and does to it, for one that is a child of the fork server's."""

    def __init__(self, reports: socket.socket) -> None:
        self._reports, self._lock = reports, threading.Lock()
        self.pid = int(reports.recv(_LONGEST))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended: its exit code, or minus the signal; None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._reports], [], [], 0)[0]:
                told = self._reports.recv(_LONGEST)
                self.returncode = int(told) if told else -signal.SIGKILL  # with the fork server
                self._reports.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it ends; raises ``subprocess.TimeoutExpired``."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left_s = None if give_up is None else give_up - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            select.select([self._reports], [], [], left_s)
        return code

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that has imported everything; its children end with it, and it with whoever has started it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "stockstream.testing.fork_server", str(theirs.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        out: IO[bytes],
        errors: IO[bytes] | None = None,
    ) -> ForkedProcess:
        """As ``python -m module arguments`` in the working directory; errors are written to ``out`` too, by default."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            job = json.dumps([module, list(arguments), dict(environment), os.getcwd()]).encode()
            files = [out.fileno(), (errors or out).fileno(), theirs.fileno()]
            socket.send_fds(self._control, [job], files)
        return ForkedProcess(ours)

    def close(self) -> None:
        """End it, and all that it has started."""
        self._control.close()
        self._process.wait()


def _await_job(control: socket.socket) -> tuple[str, list[str]] | None:
    """In a child what it is to run; in the fork server itself None, at its end."""
    children: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor of the process
    poll = select.poll()
    poll.register(control, _ENDS)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in children:
                poll.unregister(descriptor)
                os.close(descriptor)
                _report(*children.pop(descriptor))
                continue
            told, files, _, _ = socket.recv_fds(control, _LONGEST, 3)
            if not told:
                for pid, _ in children.values():
                    os.kill(pid, signal.SIGKILL)
                return None
            reports, pid = socket.socket(fileno=files.pop()), os.fork()
            if not pid:
                for each in (reports, control, *(each for _, each in children.values())):
                    each.close()
                for other in children:
                    os.close(other)
                return _become(files, *json.loads(told))
            for file in files:
                os.close(file)
            reports.send(str(pid).encode())
            child = os.pidfd_open(pid)
            children[child] = pid, reports
            poll.register(child, _ENDS)


def _report(pid: int, reports: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with reports, suppress(BrokenPipeError):  # nobody may want to know any more
        reports.send(str(code).encode())


def _become(
    files: list[int], module: str, arguments: list[str], environment: dict[str, str], folder: str
) -> tuple[str, list[str]]:
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    return module, arguments


def main(descriptor: int) -> None:
    """The fork server, and what each of its children is at first."""
    with loading():
        for name in (*_IMPORTED, *(f"stockstream.cli.{command}" for command in _COMMANDS)):
            import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as control:
        job = _await_job(control)
    if job is not None:
        module, sys.argv[1:] = job
        run_module(f"{module}.__main__", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
