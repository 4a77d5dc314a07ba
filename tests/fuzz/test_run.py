"""The fuzzer finds what there is to be found, and the same again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fuzz import run as module
from fuzz.apart import run_apart
from fuzz.mutation import Corpus, Mutator
from fuzz.run import Outcome, run, run_one
from fuzz.target import Target

INPUTS = 600


def target(take: Callable[[bytes], object], *classified: type[BaseException]) -> Target:
    return Target("of a test", "bytes", lambda: [Corpus([b"an input", b"another"])], lambda folder: take, classified)


def fails_at(byte: int) -> Callable[[bytes], bool]:
    def take(data: bytes) -> bool:
        if byte in data:
            raise KeyError(byte)
        return True

    return take


def found(outcome: Outcome) -> list[tuple[int, str, bytes]]:
    return [(finding.number, finding.told, finding.data) for finding in outcome.findings]


def test_an_error_that_is_not_documented_is_found_and_found_again() -> None:
    wrong = target(fails_at(0xFF))
    outcome = run(wrong, 1, INPUTS)
    ((number, told, data),) = found(outcome)
    assert told == "KeyError: 255"
    assert b"\xff" in data
    assert found(run_one(wrong, 1, number)) == [(number, told, data)]
    assert found(run(wrong, 1, INPUTS)) == found(outcome)


def test_a_documented_one_is_a_refusal() -> None:
    outcome = run(target(fails_at(0xFF), KeyError), 1, INPUTS)
    assert outcome.findings == []
    assert 0 < outcome.accepted < outcome.inputs == INPUTS


def test_of_a_batch_the_input_that_fails_alone_is_told() -> None:
    take = fails_at(0xFF)

    def take_all(block: Sequence[bytes]) -> int:
        return sum(map(take, block))

    batch = Target("batch", "bytes", lambda: [Corpus([b"an input"])], lambda folder: take_all, is_batch=True)
    ((_, told, data), *_) = found(run(batch, 1, INPUTS))
    assert told == "KeyError: 255"
    assert b"\xff" in data


def test_an_input_that_does_not_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HANGS_S", 0.05)

    def take(data: bytes) -> bool:
        while b"\xff" in data:
            pass
        return True

    ((_, told, data), *_) = found(run(target(take), 1, INPUTS))
    assert told == "Hang: it does not end within 0.05 s"
    assert b"\xff" in data


def test_a_process_that_dies_is_found() -> None:
    def take(data: bytes) -> bool:
        if b"\xff" in data:
            os._exit(7)
        return True

    ((_, told, _),) = found(run_apart(target(take), 1, INPUTS))
    assert told == "Died: its process ended with exit code 7"


def test_inputs_differ_and_are_those_of_their_seed() -> None:
    corpora = [Corpus([Path(__file__).read_bytes()], is_text=True)]
    first, again, other = (Mutator(corpora, seed) for seed in (1, 1, 2))
    inputs = [first.input() for _ in range(100)]
    assert inputs == [again.input() for _ in range(100)]
    assert len({*inputs, *(other.input() for _ in range(100))}) > 190
