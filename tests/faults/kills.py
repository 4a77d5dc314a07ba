"""``python -m faults.kills``: a long replay under SIGKILLs, many of them while a worker still recovers."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Sequence

from faults.plan import DEFAULTS, Kind, Plan, Step
from faults.report import Result, summary
from faults.results import save
from faults.run import Servers, run

KILLS, TICKS = 200, 1_000_000
_WORKERS = ("w0", "w1")
_MEAN_S = 5.0
_FIRST_S = 5.0
_WIPED = 0.2
_PATIENCE_S = 300


def kill_plan(seed: int, kills: int, ticks: int) -> Plan:
    """``kills`` SIGKILLs at random moments, a few seconds apart, one in five with the data folder deleted.

    Workers are started again at once and keep their place in the group, with the default timeouts.
    """
    rng = random.Random(seed)
    steps, at_s = [], _FIRST_S
    for _ in range(kills):
        kind = Kind.WIPE if rng.random() < _WIPED else Kind.KILL
        steps.append(Step(round(at_s, 1), kind, rng.choice(_WORKERS)))
        at_s += rng.uniform(0.3, 2 * _MEAN_S - 0.3)
    return Plan(
        seed,
        tuple(steps),
        load_s=at_s,
        ticks=ticks,
        workers=_WORKERS,
        is_static=True,
        patience_s=_PATIENCE_S,
        settings=dict(DEFAULTS),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every candle is right in every place."""
    parser = argparse.ArgumentParser(prog="make kills", description="SIGKILLs in a replay, and one oracle.")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the results in tests/faults/results")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    plan = kill_plan(asked.seed, asked.kills, asked.ticks)
    print(f"{plan}, {plan.load_s / 60:.0f} minutes", flush=True)
    with Servers() as servers:
        report = run(plan, servers)
    print(summary(report))
    if asked.save:
        print(save("kills", report.as_json()))
    return 0 if report.result is Result.EQUAL else 1


if __name__ == "__main__":
    sys.exit(main())
