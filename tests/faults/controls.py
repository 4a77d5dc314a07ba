"""Each protection switched off, in the workers only, under a plan made for it: the oracle must see the loss.

Some protections guard the same thing twice over. Such a one may be missing alone, which is shown too; with both of them
missing the oracle must see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from faults.plan import QUICK, TICKS_PER_S, Kind, Plan, Step
from faults.report import Report, Result, told
from faults.run import Servers, run

_TRIES = 3
_SLOW_SEEK, _SLOW_END = "slow_seek", "slow_end"  # no protections: they make a race easier to lose


def _plan(steps: Iterable[Step], load_s: float, workers: tuple[str, ...] = ("w0", "w1"), busy: int = 1) -> Plan:
    return Plan(
        1, tuple(steps), load_s=load_s, ticks=int(load_s * TICKS_PER_S * busy), late=0.3, workers=workers, patience_s=45
    )


_KILLS = _plan([Step(5, Kind.KILL, "w0"), Step(11, Kind.WIPE, "w1"), Step(17, Kind.RESTART, "w0")], 22)
_NAMELESS = replace(_KILLS, has_ids=False)  # else the ids of trades tell most of what is read again
_REFUSALS = _plan([Step(at_s, Kind.REFUSE, "1m", 1.5) for at_s in (4, 11)], 18, ("w0",))
# The 1m rows are logged and those of 5m are not, and the stores are lost too: 5m falls behind, and must drop the same
# duplicates once more.
_HALF_REFUSALS = _plan(
    [step for at_s in (4, 14, 24) for step in (Step(at_s, Kind.REFUSE, "5m", 4), Step(at_s + 3.5, Kind.WIPE, "w0"))],
    36,
    ("w0",),
    busy=4,
)
_ZOMBIES = _plan(
    [
        Step(4, Kind.FREEZE, "w0", 8),
        Step(16, Kind.FREEZE, "w1", 8),
        Step(28, Kind.FREEZE, "w0", 8),
    ],
    38,
    busy=4,
)
_MOVES = replace(
    _plan([Step(3 + 5 * n, Kind.LEAVE if n % 2 else Kind.JOIN, "w1") for n in range(6)], 44, ("w0",), busy=4),
    is_patient=True,
)
# Two recoveries within seconds: of half of the rows, and as the other worker leaves right then, of the other half.
_RETURNS = replace(
    _plan([Step(5, Kind.WIPE, "w0"), Step(7.5, Kind.LEAVE, "w1")], 30),
    settings={**QUICK, "standby_replicas": "0"},
    is_patient=True,
)


@dataclass(frozen=True, slots=True)
class Control:
    """``off``: the protections that are missing; ``result``: what must come of it."""

    plan: Plan
    off: tuple[str, ...] = ()
    result: Result = Result.LOST

    @property
    def name(self) -> str:
        """The protections that are missing."""
        return "+".join(name for name in self.off if name not in (_SLOW_SEEK, _SLOW_END)) or "nothing"


CONTROLS = (
    *(Control(plan, result=Result.EQUAL) for plan in (_NAMELESS, _KILLS, _REFUSALS, _ZOMBIES, _MOVES, _RETURNS)),
    Control(_NAMELESS, ("guard",)),
    Control(_REFUSALS, ("echo",)),
    Control(_REFUSALS, ("poison",)),
    Control(_HALF_REFUSALS, ("commits", _SLOW_END)),
    Control(_HALF_REFUSALS, (_SLOW_END,), Result.EQUAL),
    Control(_ZOMBIES, ("lease",)),
    Control(_ZOMBIES, ("lease", "contiguous")),
    Control(_ZOMBIES, ("contiguous",), Result.EQUAL),
    Control(_ZOMBIES, ("lease", "newest")),
    Control(_ZOMBIES, ("newest",), Result.EQUAL),
    Control(_MOVES, ("gate", "continuity", _SLOW_SEEK)),
    Control(_MOVES, ("gate", _SLOW_SEEK), Result.EQUAL),
    Control(_MOVES, ("continuity", _SLOW_SEEK), Result.EQUAL),
    Control(_RETURNS, ("recovery",)),
    Control(_KILLS, ("acks",), Result.STALLED),
)


def run_controls(servers: Servers, names: Iterable[str]) -> Iterator[tuple[Control, Report]]:
    """Run those of these names (all); yields the last report of each.

    A race is not lost every time: where the loss is not seen, other seeds are tried.
    """
    wanted = set(names)
    for control in CONTROLS:
        if wanted and control.name not in wanted:
            continue
        for seed in range(1, 1 + (1 if control.result is Result.EQUAL else _TRIES)):
            report = run(replace(control.plan, seed=seed, off=control.off), servers)
            print(told(report), flush=True)
            if report.result is control.result:
                break
        yield control, report
