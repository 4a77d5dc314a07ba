"""The running system under faults: does what a plan says, and starts again what ends, as a supervisor would."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException
from faults.plan import BROKERS, Kind, Step

from stockstream.errors import LEASE_LOST
from stockstream.tables import table_name
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.process import ServerProcess
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

_REFUSED = "max.message.bytes"
_POLL_S = 0.02
_STARTED_AGAIN = {0, 1, LEASE_LOST, -signal.SIGKILL, -signal.SIGTERM}
_INSERTS = 3
_STOP_S = 60
_AGAIN_S = 0.5
_ASK_S = 2.0


@dataclass(slots=True)
class _Kept:
    """A process that is to run, but not before ``not_before``."""

    process: ServerProcess
    wanted: bool = True
    not_before: float = 0.0
    was_running: bool = False
    log_begin: int = 0


class Stage:
    """Everything happens in the thread that calls `tend`, which waits for nothing but a broker's answer."""

    def __init__(self, system: System, kafka: KafkaCluster, clickhouse: ClickHouseFacade, is_static: bool) -> None:
        """``is_static``: workers keep their place in the group over a restart."""
        self._is_static = is_static
        self.system, self.clickhouse = system, clickhouse
        self._workers: dict[str, _Kept] = {}
        self._brokers = [_Kept(broker) for broker in kafka.brokers]
        self._endings: list[tuple[float, Callable[[], object]]] = []
        self.ends: Counter[str] = Counter()
        self.unexpected: list[str] = []

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those that are to run."""
        return [self.system.workers[name] for name, kept in sorted(self._workers.items()) if kept.wanted]

    def join(self, name: str) -> None:
        """Have a worker run from now on."""
        if name in self._workers:
            self._workers[name].wanted = True
        else:
            settings = {"instance_id": name} if self._is_static else {}
            self._workers[name] = _Kept(self.system.start(name, wait=False, **settings), was_running=True)

    def do(self, step: Step) -> None:
        """Begin a fault; `tend` ends it."""
        if step.kind in BROKERS:
            self._end_broker(int(step.target), step)
        elif step.kind is Kind.REFUSE:
            topic = f"{self.system.id}-{table_name(step.target)}-changelog"
            self._configure(topic, "1", lambda: self._later(step.seconds, lambda: self._configure(topic, None)))
        elif step.kind is Kind.CLICKHOUSE:
            is_of_port = step.target == "refuse"
            self.clickhouse.fault(step.target, _INSERTS, step.seconds, "" if is_of_port else "INSERT")
        elif step.kind is Kind.JOIN:
            self.join(step.target)
        else:
            self._hit_worker(self._workers[step.target], self.system.workers[step.target], step)

    def tend(self) -> None:
        """Start what has ended and is to run, and end the faults whose time has come."""
        now = time.monotonic()
        due = [ending for at, ending in self._endings if at <= now]
        self._endings = [each for each in self._endings if each[0] > now]
        for ending in due:
            ending()
        for name, kept in self._workers.items():
            self._tend(kept, now, name)
        for kept in self._brokers:
            self._tend(kept, now, None)

    def tend_until(self, is_done: Callable[[], object], timeout_s: float, what: str) -> None:
        """`tend` until a condition is met; raises ``TimeoutError``."""

        def tended() -> object:
            self.tend()
            return is_done()

        wait_until(tended, timeout_s, what)

    def stop(self) -> None:
        """End all workers in good order."""
        for worker in self.workers:
            worker.terminate()
        for kept in self._workers.values():
            kept.wanted = False
        self.tend_until(self.is_whole, _STOP_S, "the workers to end")

    def is_whole(self) -> bool:
        """Whether every fault is over and whatever is to run does."""
        return not self._endings and all(
            kept.process.running is kept.wanted for kept in [*self._workers.values(), *self._brokers]
        )

    def _end_broker(self, number: int, step: Step) -> None:
        kept = self._brokers[number]
        kept.not_before = time.monotonic() + step.seconds
        if not kept.process.running:
            return
        if step.kind is Kind.BROKER_KILL:
            kept.process.kill()
        else:
            kept.process.terminate()

    def _hit_worker(self, kept: _Kept, worker: WorkerProcess, step: Step) -> None:
        kept.wanted = kept.wanted and step.kind is not Kind.LEAVE
        kept.not_before = time.monotonic() + (0 if step.kind is Kind.FREEZE else step.seconds)
        if step.kind in (Kind.KILL, Kind.WIPE):
            worker.kill()
            if step.kind is Kind.WIPE:
                shutil.rmtree(worker.data, ignore_errors=True)
        elif worker.running and step.kind is Kind.FREEZE:
            worker.pause()
            self._later(step.seconds, lambda: worker.running and worker.resume())
        elif worker.running:
            worker.terminate()

    def _configure(self, topic: str, refused: str | None, then: Callable[[], object] = lambda: None) -> None:
        """Set what a topic refuses, once brokers answer: one may not be back yet from a fault of its own."""
        try:
            self.system.topics.configure(topic, _REFUSED, refused, _ASK_S)
        except KafkaException:
            self._later(_AGAIN_S, lambda: self._configure(topic, refused, then))
        else:
            then()

    def _later(self, seconds: float, ending: Callable[[], object]) -> None:
        self._endings.append((time.monotonic() + seconds, ending))

    def _tend(self, kept: _Kept, now: float, worker: str | None) -> None:
        if kept.process.running:
            return
        code = kept.process.exit_code
        if worker is not None and kept.was_running and code is not None:
            self.ends[f"{code}{_last_words(kept.process.log.read_bytes()[kept.log_begin :]) if code > 0 else ''}"] += 1
            kept.not_before = max(kept.not_before, now + (_AGAIN_S if code > 0 else 0))
            if code not in _STARTED_AGAIN:
                self.unexpected.append(f"{worker} ended with {code}: {kept.process.log_tail()[-600:]}")
        kept.was_running = False
        if kept.wanted and now >= kept.not_before:
            kept.log_begin = kept.process.log.stat().st_size
            kept.process.start()
            kept.was_running = True


def _last_words(log: bytes) -> str:
    """Why a worker has ended: the first line that says so, else the last one that says something went wrong."""
    lines = [line.partition("] ")[2].partition("] ")[2] for line in log.decode(errors="replace").splitlines()]
    fatal = [line for line in lines if line.startswith("[CRITICAL]") and "^Worker" not in line]
    crashed = [line for line in lines if line.startswith("[ERROR]") and "Crashed reason" in line]
    wrong = [line for line in lines if line.startswith(("[ERROR]", "[CRITICAL]"))]
    found = [*fatal[:1], *crashed[:1], *wrong[-1:]]
    return f": {found[0][:120]}" if found else ""
