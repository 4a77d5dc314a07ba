"""``python -m faults``: seeded plans of faults against real servers; see docs/faults.md."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from faults.plan import random_plan
from faults.run import Servers, run, told

CI_SEEDS = (5, 6, 7, 8, 9)


def main() -> int:
    """0 if every plan ended with every candle right in every place."""
    parser = argparse.ArgumentParser(prog="make faults", description="Faults against real servers, and one oracle.")
    parser.add_argument("--seed", type=int, nargs="+", help="run the plans of these seeds")
    parser.add_argument("--plans", type=int, help="run this many plans of seeds not seen before")
    parser.add_argument("--show", action="store_true", help="only print the plans")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    seeds = asked.seed or CI_SEEDS
    if asked.plans:
        seeds = random.SystemRandom().sample(range(10_000_000), asked.plans)
    if asked.show:
        for plan in map(random_plan, seeds):
            print(plan, *plan.steps, sep="\n  ")
        return 0
    failed = []
    with Servers() as servers:
        for seed in seeds:
            report = run(random_plan(seed), servers)
            print(told(report), flush=True)
            if not report.is_right:
                failed.append(seed)
    for seed in failed:
        print(f'seed {seed} FAILED; again: make faults FAULTS="--seed {seed}"')
    return 1 if failed else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
