"""Results that are kept, in ``tests/faults/results``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faults.report import Report
from kept import keep

_FOLDER = Path(__file__).parent / "results"


def save(kind: str, results: dict[str, Any]) -> Path:
    """Keep results."""
    return keep(_FOLDER, kind, results)


def longest_silences(reports: Iterable[Report]) -> dict[str, float]:
    """By kind of fault, the longest silence in seconds that one brought about which had the system to itself."""
    longest: dict[str, float] = defaultdict(float)
    for report in reports:
        for step, silence in report.events:
            if silence.alone:
                longest[step.kind.value] = max(longest[step.kind.value], round(silence.seconds, 2))
    return dict(sorted(longest.items()))
