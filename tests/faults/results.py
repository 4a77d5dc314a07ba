"""Results that are kept, in ``tests/faults/results``."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults.report import Report

_FOLDER = Path(__file__).parent / "results"


def save(kind: str, results: dict[str, Any]) -> Path:
    """Keep results, with their date, the commit they are of, and the size of the machine."""
    at = datetime.now(UTC)
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    around = {
        "date": at.isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_bytes / 2**30, 1),
    }
    file = _FOLDER / f"{kind}-{at:%Y%m%d-%H%M%S}.json"
    file.write_text(json.dumps({**around, **results}, indent=2) + "\n")
    return file


def _commit() -> str:
    """What is checked out; ``-dirty`` if files differ from it, and nothing where there is no repository."""
    command = ["git", "-C", str(_FOLDER), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def longest_silences(reports: Iterable[Report]) -> dict[str, float]:
    """By kind of fault, the longest silence in seconds that one brought about which had the system to itself."""
    longest: dict[str, float] = defaultdict(float)
    for report in reports:
        for step, silence in report.events:
            if silence.alone:
                longest[step.kind.value] = max(longest[step.kind.value], round(silence.seconds, 2))
    return dict(sorted(longest.items()))
