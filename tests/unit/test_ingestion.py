"""What a worker says of its sources before it has anything to do with a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sim:?speed=1", "the simulated market sim:?speed=1 cannot be: speed is no option of it: there are seed, "),
        ("sim:?ticks_per_s=x", "ticks_per_s is 'x': must be a valid number"),
        ("ws://nowhere", "STOCKSTREAM_SIM_URL in the environment is 'ws://nowhere': must be sim: or sim:?name=value"),
    ],
)
def test_a_source_that_cannot_be_is_one_line_and_the_end(url: str, said: str, tmp_path: Path) -> None:
    others = {name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "stockstream", "worker"],
        env={**others, "STOCKSTREAM_SIM_URL": url, "STOCKSTREAM_TICK_TOPICS": "sim"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stockstream: ")]
    assert said in line
    assert "Traceback" not in done.stderr
