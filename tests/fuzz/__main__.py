"""``python -m fuzz``: seeded inputs for everything that reads foreign bytes; see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from fuzz.apart import run_apart
from fuzz.http import ask
from fuzz.run import run_one
from fuzz.targets import TARGETS
from kept import keep

RESULTS = Path(__file__).parent / "results"
SEED = 1
_INPUTS, _REQUESTS = 20_000, 1000
_FULL_REQUESTS = 20_000


def main() -> int:
    """0 if there are no findings, 1 if there are."""
    asked = _arguments()
    if asked.list:
        for target in TARGETS.values():
            print(f"{target.name:18} {target.inputs:>9,}  {target.reads}")
        return 0
    if asked.only is not None:
        return _again(asked)
    if asked.http:
        return _http(asked)
    return _targets(asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Seeded inputs for everything that reads bytes.")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what the inputs are made of ({SEED})")
    parser.add_argument("--target", nargs="+", choices=TARGETS, metavar="NAME", help="these alone (all)")
    parser.add_argument("--inputs", type=int, help=f"so many for each ({_INPUTS:,})")
    parser.add_argument("--full", action="store_true", help="as many as each target is to have in a full run")
    parser.add_argument("--only", type=int, metavar="N", help="this input of a target alone, as a finding names it")
    parser.add_argument("--http", action="store_true", help="requests by the OpenAPI document, in place of the targets")
    parser.add_argument("--list", action="store_true", help="only print the targets")
    parser.add_argument("--save", action="store_true", help="keep the results in tests/fuzz/results")
    return parser.parse_args()


def _again(asked: argparse.Namespace) -> int:
    findings = [each for name in asked.target or () for each in run_one(TARGETS[name], asked.seed, asked.only).findings]
    print(*findings or ["no finding"], sep="\n")
    return 1 if findings else 0


def _targets(asked: argparse.Namespace) -> int:
    outcomes = []
    for name in asked.target or TARGETS:
        target = TARGETS[name]
        outcomes.append(run_apart(target, asked.seed, asked.inputs or (target.inputs if asked.full else _INPUTS)))
        print(outcomes[-1], *outcomes[-1].findings, sep="\n", flush=True)
    if asked.save:
        print(keep(RESULTS, "targets", {"seed": asked.seed, "targets": [each.as_json() for each in outcomes]}).name)
    return 1 if any(outcome.findings for outcome in outcomes) else 0


def _http(asked: argparse.Namespace) -> int:
    logging.getLogger("stockstream").setLevel(logging.ERROR)  # of wrong keys there are thousands
    outcome = ask(asked.seed, asked.inputs or (_FULL_REQUESTS if asked.full else _REQUESTS))
    print(outcome)
    if asked.save:
        print(keep(RESULTS, "http", {"seed": asked.seed, **outcome.as_json()}).name)
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
