"""Results that are kept, with what they are of."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def keep(folder: Path, kind: str, results: dict[str, Any]) -> Path:
    """Write results into a file of ``folder``, with their date, the commit they are of, and the size of the machine.

    The folder is made where it is missing.
    """
    at = datetime.now(UTC)
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    around = {
        "date": at.isoformat(timespec="seconds"),
        "commit": _commit(folder),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_bytes / 2**30, 1),
    }
    folder.mkdir(exist_ok=True)
    file = folder / f"{kind}-{at:%Y%m%d-%H%M%S}.json"
    file.write_text(json.dumps({**around, **results}, indent=2) + "\n")
    return file


def _commit(folder: Path) -> str:
    """What is checked out; ``-dirty`` if files differ from it, and nothing where there is no repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
