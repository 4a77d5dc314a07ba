"""Checks on ClickHouse's embedded engine, of which a process can have one: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys


def run_embedded(script: str, path: object) -> list[str]:
    """Run a test file as a program with an engine's ``path``; the words that it prints. It must end well."""
    child = subprocess.run(
        [sys.executable, script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return child.stdout.split()
