"""What workers tell and take while something is wrong: `/health/ready` and memory, looked at twice a second."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from pathlib import Path

from stockstream.testing.system import System

_EVERY_S = 0.5
_ASK_S = 2.0
_GREATEST = "VmHWM:"


class Watch:
    """A thread that looks at every worker of a system until it is stopped.

    ``ready`` has each different answer of `/health/ready` once, with the time of the first one: its status, and by the
    name of what is not well what it says. ``memory_mb`` is the most that a process of each worker ever had in memory.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._began_s = time.monotonic()
        self._ends = threading.Event()
        self._last: dict[str, tuple[str, frozenset[str]]] = {}
        self.ready: list[tuple[float, str, str, dict[str, str]]] = []
        self.memory_mb: dict[str, float] = defaultdict(float)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ends.set()
        self._thread.join()

    def at_s(self) -> float:
        """How long it has been looking."""
        return time.monotonic() - self._began_s

    def said(self, text: str, since_s: float = 0.0) -> bool:
        """Whether any worker has named this as what is wrong since then."""
        return any(text in told for at, _, _, wrong in self.ready if at >= since_s for told in wrong.values())

    def _run(self) -> None:
        while not self._ends.wait(_EVERY_S):
            for name, worker in list(self._system.workers.items()):
                if worker.running:
                    self._weigh(name, worker.pid)
                    _, answer = worker.get("/health/ready", _ASK_S)
                    self._hear(name, answer)

    def _hear(self, name: str, answer: dict[str, object] | None) -> None:
        if answer is None or "checks" not in answer:
            status, wrong = "no answer", {}
        else:
            checks: list[dict[str, str]] = answer["checks"]  # type: ignore[assignment]
            status = str(answer["status"])
            wrong = {check["name"]: check["detail"] for check in checks if not check["ok"]}
        now = status, frozenset(_without_digits(told) for told in wrong.values())
        if now != self._last.get(name):
            self._last[name] = now
            self.ready.append((round(self.at_s(), 1), name, status, wrong))

    def _weigh(self, name: str, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # it has just ended
            return
        found = [int(line.split()[1]) for line in status.splitlines() if line.startswith(_GREATEST)]
        if found:
            self.memory_mb[name] = max(self.memory_mb[name], round(found[0] / 1024, 1))


def _without_digits(text: str) -> str:
    return "".join(letter for letter in text if not letter.isdigit())
