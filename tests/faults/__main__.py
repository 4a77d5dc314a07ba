"""``python -m faults``: seeded plans of faults against real servers; see docs/faults.md."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Iterable

from faults.controls import CONTROLS, run_controls
from faults.outages import OUTAGES, run_outages
from faults.plan import Plan, broker_plan, random_plan, timed_plan
from faults.report import Result, told
from faults.results import longest_silences, save
from faults.run import Servers, run

CI_SEEDS = (5, 6, 7, 8, 9)
FIXED = {"silence": timed_plan, "brokers": broker_plan}


def main() -> int:
    """0 if every plan and outage ended with every candle right in every place, and every control as it should."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    seeds: Iterable[int] = asked.seed or CI_SEEDS
    if asked.plans:
        seeds = random.SystemRandom().sample(range(10_000_000), asked.plans)
    plans = [FIXED[asked.fixed]()] if asked.fixed else [random_plan(seed) for seed in seeds]
    if asked.show:
        for plan in plans:
            print(plan, *plan.steps, sep="\n  ")
        return 0
    with Servers() as servers:
        if asked.controls is not None:
            return _control(servers, asked.controls, asked.save)
        if asked.outages is not None:
            return _outages(servers, asked.outages, asked.save)
        return _run(servers, plans, asked.fixed or "plans", asked.save)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description="Faults against real servers, and one oracle.")
    parser.add_argument("--seed", type=int, nargs="+", help="run the plans of these seeds")
    parser.add_argument("--plans", type=int, help="run this many plans, of seeds by chance")
    helps = {"silence": "measure joins, leaves and kills", "brokers": "measure kills of one broker of three"}
    for name, told_of in helps.items():
        told_of += ", with default timeouts"
        parser.add_argument(f"--{name}", action="store_const", const=name, dest="fixed", help=told_of)
    names = ", ".join(dict.fromkeys(control.name for control in CONTROLS))
    parser.add_argument("--controls", nargs="*", metavar="NAME", help=f"switch protections off: {names} (all)")
    parser.add_argument("--outages", nargs="*", metavar="NAME", help=f"each by itself: {', '.join(OUTAGES)} (all)")
    parser.add_argument("--show", action="store_true", help="only print the plans")
    parser.add_argument("--save", action="store_true", help="keep the results in tests/faults/results")
    return parser.parse_args()


def _run(servers: Servers, plans: Iterable[Plan], kind: str, is_kept: bool) -> int:
    reports = []
    for plan in plans:
        reports.append(run(plan, servers))
        print(told(reports[-1]), flush=True)
    longest = longest_silences(reports)
    print("longest silence of a partition, of faults that had the system to themselves:", longest)
    if is_kept:
        print(save(kind, {"longest_silence_s": longest, "plans": [report.as_json() for report in reports]}))
    failed = [report.plan.seed for report in reports if report.result is not Result.EQUAL]
    for seed in failed:
        print(f'seed {seed} FAILED; again: make faults FAULTS="--seed {seed}"')
    return 1 if failed else 0


def _control(servers: Servers, names: Iterable[str], is_kept: bool) -> int:
    results, is_right = [], True
    for control, report in run_controls(servers, names):
        is_right = is_right and report.result is control.result
        print(f"--- without {control.name}: {report.result}, must be {control.result}\n", flush=True)
        results.append({"without": control.name, "must_be": control.result, **report.as_json()})
    if is_kept:
        print(save("controls", {"controls": results}))
    return 0 if is_right else 1


def _outages(servers: Servers, names: Iterable[str], is_kept: bool) -> int:
    outcomes = []
    for outcome in run_outages(servers, names):
        outcomes.append(outcome)
        print(outcome, flush=True)
    if is_kept:
        print(save("outages", {"outages": [outcome.as_json() for outcome in outcomes]}))
    return 0 if all(outcome.is_right for outcome in outcomes) else 1


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
