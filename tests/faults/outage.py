"""One outage on a system of its own: what is done to it, what must be seen meanwhile, and the judge at the end."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faults.judge import EQUAL, Expectation, judge_clickhouse, judge_cold, judge_running
from faults.plan import Kind, Step
from faults.run import PARTITIONS, Servers, is_ready, places
from faults.stage import Stage
from faults.watch import Watch
from load import Load, expectation, last_trades, market

from stockstream.models import Tick
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.system import System, WorkerProcess

PATIENCE_S = 180
_SEED, _LATE = 1, 0.05
MEMORY_MB = 512
"""What a worker may have in memory at most, whatever is away: 200 MB at rest, 256 MB of rows that wait for ClickHouse,
and 50 MB that one broker has answered to its fetches."""
WITH_ENGINE_MB = 1024
"""The same where ClickHouse's engine runs inside of it."""
_KAFKA = {"group.min.session.timeout.ms": "1000", "log.retention.check.interval.ms": "1000"}


@dataclass(slots=True)
class Outcome:
    """What has come of one outage.

    ``seen`` is what had to be seen, with the seconds after the start; ``wrong`` what was not as it must be;
    ``memory_mb`` the most that each worker had in memory, and ``most_memory_mb`` what it may have.
    """

    name: str
    took_s: float = 0.0
    ticks: int = 0
    candles: int = 0
    places: dict[str, str] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float | str] = field(default_factory=dict)
    ready: list[tuple[float, str, str, dict[str, str]]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    most_memory_mb: int = MEMORY_MB
    wrong: list[str] = field(default_factory=list)
    logs: Path | None = None

    @property
    def is_right(self) -> bool:
        """Whether all was seen that had to be, and every candle is right in every place."""
        return not self.wrong and bool(self.places) and set(self.places.values()) == {EQUAL}

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        found = asdict(self)
        del found["logs"]
        places = {place: told.partition("\n")[0] for place, told in self.places.items()}
        found |= {"is_right": self.is_right, "took_s": round(self.took_s, 1), "places": places}
        kept: dict[str, Any] = json.loads(json.dumps(found).replace(tempfile.gettempdir(), "…"))
        return kept

    def __str__(self) -> str:
        equal = f"{self.candles} candles equal in {len(self.places)} places"
        memory = ", ".join(f"{name} {most:.0f} MB" for name, most in sorted(self.memory_mb.items()))
        lines = [f"{self.name}: {equal if self.is_right else 'FAILED'}; {self.ticks} ticks, {memory}, ends {self.ends}"]
        lines += [f"{at:6.1f} s {what}" for what, at in self.seen.items()]
        lines += [f"       {name}: {value}" for name, value in self.figures.items()]
        lines += [f"{at:6.1f} s {worker} {status} {wrong or ''}" for at, worker, status, wrong in self.ready]
        lines += [f"{place}: {told}" for place, told in self.places.items() if told != EQUAL]
        lines += self.wrong
        return "\n  ".join([*lines, *([f"the workers' logs: {self.logs}"] if self.logs else [])])


class Trial:
    """A running system under one outage; all happens in the thread that calls it, but for the ticks and the looks."""

    def __init__(self, servers: Servers, stage: Stage, kafka: KafkaCluster, outcome: Outcome) -> None:
        self.servers, self.stage, self.kafka, self.outcome = servers, stage, kafka, outcome
        self.system = stage.system
        self.watch = Watch(self.system)
        self._load: Load | None = None

    @property
    def worker(self) -> WorkerProcess:
        """The first one that is to run."""
        return self.stage.workers[0]

    def join(self, *names: str) -> None:
        """Have these workers run, and wait until all are ready."""
        for name in names:
            self.stage.join(name)
        self.until_ready()

    def until_ready(self) -> None:
        """Wait until every worker that is to run is ready."""
        self.until("all workers are ready", lambda: is_ready(self.stage))

    def until(self, what: str, is_so: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait for something that must come to be seen, and note when it was."""
        self.stage.tend_until(is_so, timeout_s, what)
        self._note(what)

    def until_said(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until `/health/ready` of a worker, asked from now on, names this as what is wrong."""

        def is_said() -> bool:
            checks = [check for worker in self.stage.workers for check in checks_of(worker)]
            return any(text in check["detail"] for check in checks if not check["ok"])

        self.until(f"/health/ready says: {text}", is_said, timeout_s)

    def until_logged(self, text: str, worker: WorkerProcess | None = None, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a worker has printed this."""
        log = (worker or self.worker).log
        self.until(f"logged: {text}", lambda: text in log.read_text(errors="replace"), timeout_s)

    def rest(self, seconds: float) -> None:
        """Let this time pass."""
        end_s = time.monotonic() + seconds
        self.stage.tend_until(lambda: time.monotonic() >= end_s, seconds + PATIENCE_S, "time to pass")

    def begin(self, count: int, seconds: float, ticks: Iterator[Tick] | None = None) -> None:
        """Begin to write so many ticks, the market's unless others are given, in ``seconds``."""
        self.outcome.ticks += count
        self._load = Load(self.system, ticks or market(_SEED, count, _LATE), count, seconds)

    def leave(self, name: str) -> None:
        """End a worker in good order, and start it no more."""
        self.stage.do(Step(0, Kind.LEAVE, name))
        self.until(f"{name} has ended", lambda: not self.system.workers[name].running)

    def until_sent(self, share: float) -> None:
        """Wait until this share of the ticks is in the log."""
        load = self._load
        assert load is not None
        self.until(f"{share:.0%} of the ticks are written", lambda: load.has_sent(share))

    def must(self, what: str, is_so: object) -> None:
        """Note that this is so, or that it is wrong that it is not."""
        if is_so:
            self._note(what)
        else:
            self.outcome.wrong.append(f"not so: {what}")

    def _note(self, what: str) -> None:
        while what in self.outcome.seen:
            what += ", again"
        self.outcome.seen[what] = round(self.watch.at_s(), 1)

    def judge(
        self, expected: Callable[[], Expectation] | None = None, is_embedded: bool = False, is_cold: bool = True
    ) -> Expectation:
        """Have everything read, and every candle looked at in every place; then all workers have ended.

        What is ``expected`` is what the log comes to, unless something else is asked. ClickHouse is left out where it
        ``is_embedded`` in a worker.
        """
        self.end_load()
        self.system.produce(last_trades())
        self.until("everything is read, written and committed", self.system.is_drained)
        self.until_ready()
        wanted = expected() if expected else expectation(self.system)
        places = self.outcome.places
        self.outcome.candles = len(wanted)
        places |= judge_running(self.system, self.worker, wanted)
        if not is_embedded:
            places |= judge_clickhouse(self.system, wanted)
        self.stage.stop()
        if is_cold:
            places |= judge_cold(self.system, wanted)
        return wanted

    def end_load(self) -> None:
        """Wait until all ticks are written."""
        if self._load is not None:
            self.until_sent(1)
            self._load.stop()
            self._load = None

    def close(self) -> None:
        """Note what was seen, and write no more."""
        if self._load is not None:
            self._load.stop()
        self.watch.stop()
        outcome = self.outcome
        outcome.ready, outcome.memory_mb = self.watch.ready, dict(self.watch.memory_mb)
        outcome.ends = dict(sorted(self.stage.ends.items()))
        outcome.wrong += self.stage.unexpected
        outcome.wrong += [
            f"{name} had {most:.0f} MB in memory, more than {outcome.most_memory_mb}"
            for name, most in outcome.memory_mb.items()
            if most > outcome.most_memory_mb
        ]


@contextmanager
def trial(servers: Servers, name: str, most_memory_mb: int = MEMORY_MB, **settings: str) -> Iterator[Trial]:
    """A system without workers, on a Kafka of its own; its folder stays if something is wrong."""
    servers.clickhouse.clear()
    began_s, outcome = time.monotonic(), Outcome(name, most_memory_mb=most_memory_mb)
    with KafkaCluster(kafka_libs(), 1, _KAFKA) as kafka:
        chosen = {"partitions": str(PARTITIONS), "sink_interval_ms": "1000", **settings}
        system = System(kafka.bootstrap, servers.registry.url, servers.clickhouse.url, **chosen)
        try:
            with system:
                under = Trial(servers, Stage(system, kafka, servers.clickhouse, is_static=False), kafka, outcome)
                try:
                    yield under
                except Exception as error:
                    outcome.wrong.append(f"{error!r}{places(error)}")
                finally:
                    under.close()
                if not outcome.is_right:
                    raise _Wrong  # has the system keep its logs
        except _Wrong:
            outcome.logs = system.root
        finally:
            outcome.took_s = time.monotonic() - began_s


class _Wrong(Exception):
    pass


def checks_of(worker: WorkerProcess) -> list[dict[str, Any]]:
    """What `/health/ready` of a worker lists; nothing where nobody answers."""
    answer = worker.get("/health/ready")[1] if worker.running else None
    return list(answer["checks"]) if answer else []
