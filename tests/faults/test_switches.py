from __future__ import annotations

import os
import subprocess
import sys

from faults.controls import CONTROLS
from faults.run import SWITCHES

NAMES = sorted({name for control in CONTROLS for name in control.off})


def _run(off: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SWITCHES), "FAULTS_OFF": off}
    command = [sys.executable, "-m", "faust", "--version"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_protection_can_be_switched_off() -> None:
    ended = _run(",".join(NAMES))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_worker_runs_when_a_switch_is_not_there() -> None:
    ended = _run("lease,nothing")
    assert ended.returncode == 3
    assert "nothing" in ended.stderr
