"""Runs a target. An input may take a second, of the processor: other programs may have the machine as well."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fuzz.mutation import Mutator
from fuzz.target import Take, TakeAll, Target

BLOCK = 256
"""So many inputs are made of one seed, and taken together where a target takes many."""
SLOW_S = 1.0
_HANGS_S = 10.0
_MOST_FINDINGS = 20
_SHOWN_BYTES = 4000
_SEED_STRIDE = 1 << 32
_PACKAGE = "/stockstream/"
_IN_MEMORY = "/dev/shm"  # noqa: S108 - of a folder made there, with a name by chance
_FOLDERS = _IN_MEMORY if Path(_IN_MEMORY).is_dir() else None


class Hang(BaseException):
    """An input has taken so long that it will not end; not an `Exception`, so that nobody takes it for his own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that was not taken as it should be; ``number`` counts from 0."""

    target: str
    seed: int
    number: int
    told: str
    where: str
    data: bytes

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"number": self.number, "told": self.told, "where": self.where, "input": self.data[:_SHOWN_BYTES].hex()}

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.told}\n  in {self.where}\n"
            f"  {len(self.data)} bytes: {self.data[:_SHOWN_BYTES].hex()}\n"
            f'  again: make fuzz FUZZ="--seed {self.seed} --target {self.target} --only {self.number}"'
        )


@dataclass(slots=True)
class Outcome:
    """What a run of one target has come to."""

    target: str
    inputs: int = 0
    accepted: int = 0
    took_s: float = 0.0
    slowest_ms: float = 0.0
    peak_mb: int | None = None
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "target": self.target,
            "inputs": self.inputs,
            "accepted": self.accepted,
            "took_s": round(self.took_s, 1),
            "per_s": round(self.inputs / self.took_s) if self.took_s else None,
            "slowest_ms": round(self.slowest_ms, 1),
            "peak_mb": self.peak_mb,
            "findings": [finding.as_json() for finding in self.findings],
        }

    def __str__(self) -> str:
        per_s = self.inputs / self.took_s if self.took_s else 0
        return (
            f"{self.target:22} {self.inputs:>9,} inputs, {self.accepted:>9,} accepted, {per_s:>8,.0f} a second, "
            f"slowest {self.slowest_ms:.1f} ms, {len(self.findings)} findings"
        )


def run(target: Target, seed: int, inputs: int, on_block: Callable[[int], None] = lambda first: None) -> Outcome:
    """Give a target ``inputs`` inputs of a seed; ``on_block`` is told how many of them were taken.

    It ends early when it has many findings; of those of one place the first is told.
    """
    with TemporaryDirectory(prefix="fuzz-", dir=_FOLDERS) as folder:
        return _run(target, target.open(Path(folder)), seed, inputs, on_block)


def _run(target: Target, take: Take | TakeAll, seed: int, inputs: int, on_block: Callable[[int], None]) -> Outcome:
    outcome, corpora = Outcome(target.name), target.corpora()
    places: set[tuple[str, str]] = set()
    began_s = time.perf_counter()
    signal.signal(signal.SIGVTALRM, _hang)
    try:
        for first in range(0, inputs, BLOCK):
            block = block_of(Mutator(corpora, _seed(seed, first)), min(BLOCK, inputs - first))
            on_block(first)
            _watch()
            for finding in _taken(target, take, block, seed, first, outcome):
                place = finding.told.partition(":")[0], finding.where
                if place not in places:
                    places.add(place)
                    outcome.findings.append(finding)
            if len(outcome.findings) >= _MOST_FINDINGS:
                break
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    outcome.took_s = time.perf_counter() - began_s
    return outcome


def run_one(target: Target, seed: int, number: int) -> Outcome:
    """Give a target one input alone."""
    first = number // BLOCK * BLOCK
    data = block_of(Mutator(target.corpora(), _seed(seed, first)), BLOCK)[number - first]
    outcome = Outcome(target.name)
    with TemporaryDirectory(prefix="fuzz-", dir=_FOLDERS) as folder:
        outcome.findings += _taken(target, target.open(Path(folder)), [data], seed, number, outcome)
    return outcome


def block_of(mutator: Mutator, count: int) -> list[bytes]:
    """So many inputs."""
    return [mutator.input() for _ in range(count)]


def _seed(seed: int, first: int) -> int:
    return seed * _SEED_STRIDE + first


def _taken(
    target: Target, take: Take | TakeAll, block: Sequence[bytes], seed: int, first: int, outcome: Outcome
) -> Iterator[Finding]:
    if target.is_batch:
        before = outcome.accepted
        finding = _take(target, take, block, outcome)
        outcome.inputs += len(block)
        if finding is not None:
            outcome.accepted = before
            yield _alone(target, take, block, seed, first) or _found(target, seed, first, finding, b"".join(block))
        return
    for number, data in enumerate(block, first):
        finding = _take(target, take, data, outcome)
        outcome.inputs += 1
        if finding is not None:
            yield _found(target, seed, number, finding, data)


def _alone(target: Target, take: Take | TakeAll, block: Sequence[bytes], seed: int, first: int) -> Finding | None:
    """The finding of the first input that is one without the others."""
    for number, data in enumerate(block, first):
        error = _take(target, take, [data], Outcome(target.name))
        if error is not None:
            return _found(target, seed, number, error, data)
    return None


def _take(target: Target, take: Any, given: Any, outcome: Outcome) -> BaseException | None:
    """What is wrong with how an input, or a batch of them, was taken; None if nothing is."""
    count = len(given) if target.is_batch else 1
    began_s = time.perf_counter()
    try:
        accepted = take(given)
        outcome.accepted += accepted if target.is_batch else bool(accepted)
    except target.classified:
        pass
    except (Exception, Hang) as error:
        _watch()
        return error
    took_s = time.perf_counter() - began_s
    outcome.slowest_ms = max(outcome.slowest_ms, 1000 * took_s / count)
    return _slow(target, take, given) if took_s > SLOW_S else None


def _slow(target: Target, take: Any, given: Any) -> Hang | None:
    """Whether what seemed slow is so in processor seconds too, each input of a batch by itself."""
    for each in [[data] for data in given] if target.is_batch else [given]:
        began_s = time.thread_time()
        with suppress(*target.classified):
            take(each)
        took_s = time.thread_time() - began_s
        if took_s > SLOW_S:
            return Hang(f"it took {took_s:.1f} s")
    return None


def _watch() -> None:
    """Have a `Hang` raised in so many processor seconds from now."""
    signal.setitimer(signal.ITIMER_VIRTUAL, _HANGS_S)


def _hang(number: int, frame: object) -> None:
    raise Hang(f"it does not end within {_HANGS_S:g} s")


def _found(target: Target, seed: int, number: int, error: BaseException, data: bytes) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"{frame.filename.rpartition(_PACKAGE)[2]}:{frame.lineno}" for frame in frames if _PACKAGE in frame.filename
    ]
    where = places[-1] if places else f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "it"
    return Finding(target.name, seed, number, f"{type(error).__name__}: {str(error)[:300]}", where, data)
