"""What happens to a system while ticks are written to it: a list of faults with their times, made of one seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

SESSION_S = 4.0  # shorter than the default, so that more happens in a plan
NAMES = ("w0", "w1", "w2")
LOAD_S = 30.0
TICKS_PER_S = 1000
DEFAULTS = {"session_timeout_s": "10", "heartbeat_interval_s": "1", "rebalance_timeout_s": "10"}
QUICK = {"session_timeout_s": f"{SESSION_S:g}", "heartbeat_interval_s": "0.5", "rebalance_timeout_s": "6"}
_MODES = ("slow", "hang", "refuse", "lost", "reset", "500")
_TABLES = ("1m", "5m", "1d")


class Kind(StrEnum):
    """What a step does to its target. Whoever ends is started again, as by a supervisor, unless it left."""

    KILL = "kill"
    """A worker: SIGKILL; started again after ``seconds``."""
    WIPE = "wipe"
    """The same, and its data folder is deleted."""
    RESTART = "restart"
    """A worker: SIGTERM; started again."""
    FREEZE = "freeze"
    """A worker: SIGSTOP; SIGCONT after ``seconds``, longer than its session lasts."""
    JOIN = "join"
    """A worker is started."""
    LEAVE = "leave"
    """A worker: SIGTERM; it stays away."""
    BROKER_STOP = "broker-stop"
    """A broker: SIGTERM; started again after ``seconds``."""
    BROKER_KILL = "broker-kill"
    """A broker: SIGKILL; started again after ``seconds``."""
    REFUSE = "refuse"
    """The changelog of an interval's table takes nothing for ``seconds``."""
    CLICKHOUSE = "clickhouse"
    """ClickHouse fails in the mode that ``target`` names, for some inserts or ``seconds``."""


WORKERS = {Kind.KILL, Kind.WIPE, Kind.RESTART, Kind.FREEZE, Kind.JOIN, Kind.LEAVE}
BROKERS = {Kind.BROKER_STOP, Kind.BROKER_KILL}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, ``at_s`` seconds after the first tick."""

    at_s: float
    kind: Kind
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at_s:5.1f} s {self.kind} {self.target}{lasting}"


@dataclass(frozen=True, slots=True)
class Plan:
    """``seed`` also makes the ticks. ``off`` names the protections that are switched off in the workers."""

    seed: int
    steps: tuple[Step, ...]
    brokers: int = 1
    load_s: float = LOAD_S
    ticks: int = int(LOAD_S * TICKS_PER_S)
    late: float = 0.1
    has_ids: bool = True
    workers: tuple[str, ...] = ("w0", "w1")
    off: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=lambda: dict(QUICK))
    patience_s: float = 120
    """How long everything may take to be read after the last tick."""
    is_static: bool = False
    """Whether workers keep their place in the group over a restart (``STOCKSTREAM_INSTANCE_ID``)."""
    is_patient: bool = False
    """Whether each fault waits until all workers are ready: on a slow machine one might leave before it has joined."""

    def __str__(self) -> str:
        off = f", without {', '.join(self.off)}" if self.off else ""
        group = "static" if self.is_static else "dynamic"
        return f"seed {self.seed}: {self.brokers} broker(s), {group} group, {len(self.steps)} faults{off}"


def random_plan(seed: int) -> Plan:
    """The plan of a seed: some ten faults of all kinds, some of them while the one before is not over."""
    rng = random.Random(seed)
    brokers, is_static = 3 if rng.random() < 0.25 else 1, rng.random() < 0.4
    maker = _Maker(rng, brokers)
    at_s = rng.uniform(1.5, 4.0)
    while at_s < LOAD_S - 1:
        maker.add(round(at_s, 1))
        at_s += rng.uniform(0.2, 2.0) if rng.random() < 0.3 else rng.uniform(3.0, 6.0)
    return Plan(seed, tuple(maker.steps), brokers, is_static=is_static)


class _Maker:
    """Chooses steps that make sense after those before; kinds that were not done yet are preferred."""

    def __init__(self, rng: random.Random, brokers: int) -> None:
        self._rng, self._brokers = rng, brokers
        self._up = {"w0", "w1"}
        self._frozen_until: dict[str, float] = {}
        self._broker_until = self._refused_until = 0.0
        self._done: Counter[Kind] = Counter()
        self.steps: list[Step] = []

    def add(self, at_s: float) -> None:
        """One more step."""
        rng = self._rng
        awake = sorted(name for name in self._up if self._frozen_until.get(name, 0) < at_s)
        kinds = [kind for kind in Kind if self._is_possible(kind, at_s, awake)]
        weights = [
            (3.0 if kind is Kind.JOIN and len(self._up) == 1 else 1.0) / (1 + self._done[kind]) for kind in kinds
        ]
        kind = rng.choices(kinds, weights)[0]
        self._done[kind] += 1
        target, seconds = rng.choice(awake) if awake else "", 0.0
        match kind:
            case Kind.KILL | Kind.WIPE:
                seconds = rng.choice((0.0, rng.uniform(0.5, 6)))
            case Kind.FREEZE:
                seconds = SESSION_S + rng.uniform(0.5, 3)
                self._frozen_until[target] = at_s + seconds
            case Kind.JOIN:
                target = rng.choice(sorted(set(NAMES) - self._up))
                self._up.add(target)
            case Kind.LEAVE:
                self._up.discard(target)
            case Kind.BROKER_STOP | Kind.BROKER_KILL:
                target = str(rng.randrange(self._brokers))
                seconds = rng.uniform(1, 5) if self._brokers == 1 else rng.uniform(3, 10)
                self._broker_until = at_s + seconds + 5
            case Kind.REFUSE:
                target, seconds = rng.choice(_TABLES), rng.uniform(0.5, 2.5)
                self._refused_until = at_s + seconds
            case Kind.CLICKHOUSE:
                target, seconds = rng.choice(_MODES), rng.uniform(1, 5)
        self.steps.append(Step(at_s, kind, target, round(seconds, 1)))

    def _is_possible(self, kind: Kind, at_s: float, awake: list[str]) -> bool:
        match kind:
            case Kind.JOIN:
                return len(self._up) < len(NAMES)
            case Kind.LEAVE:
                return len(awake) > 1
            case Kind.FREEZE:
                return bool(awake) and at_s < LOAD_S - SESSION_S - 4
            case Kind.BROKER_STOP | Kind.BROKER_KILL:
                return at_s > max(self._broker_until, self._refused_until + 1)
            case Kind.REFUSE:
                return at_s > max(self._refused_until, self._broker_until)
            case Kind.CLICKHOUSE:
                return True
        return bool(awake)


def timed_plan() -> Plan:
    """Workers 1 to 3 to 1 with the default timeouts, each event by itself."""
    steps = [
        Step(6, Kind.JOIN, "w1"),
        Step(20, Kind.JOIN, "w2"),
        Step(34, Kind.LEAVE, "w1"),
        Step(48, Kind.KILL, "w2"),
        Step(66, Kind.KILL, "w2", 16),
    ]
    return Plan(0, tuple(steps), load_s=81, ticks=81 * TICKS_PER_S, workers=("w0",), settings=dict(DEFAULTS))


def broker_plan() -> Plan:
    """Each of three brokers is killed in turn, with the default timeouts: among them the group's coordinator."""
    steps = [Step(8 + 22 * n, Kind.BROKER_KILL, str(n), 10) for n in range(3)]
    return Plan(0, tuple(steps), brokers=3, load_s=74, ticks=74 * TICKS_PER_S, settings=dict(DEFAULTS))
