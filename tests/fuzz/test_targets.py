"""A bounded run of every target, the same inputs each time; `make fuzz` runs more."""

from __future__ import annotations

import pytest
from fuzz.http import ask
from fuzz.run import run
from fuzz.targets import TARGETS

SEED = 20_261_128
QUICK, SLOW = 600, 120
REQUESTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_documented_errors_comes_of_foreign_bytes(name: str) -> None:
    target = TARGETS[name]
    outcome = run(target, SEED, QUICK if target.inputs >= 1_000_000 else SLOW)
    assert [str(finding) for finding in outcome.findings] == []
    assert outcome.accepted, "inputs that are all refused say nothing of what is accepted"


def test_answers_are_those_that_the_openapi_document_names() -> None:
    outcome = ask(SEED, REQUESTS)
    assert outcome.findings == {}
    assert outcome.right
    assert {"200", "400", "401", "404"} <= outcome.statuses.keys()
