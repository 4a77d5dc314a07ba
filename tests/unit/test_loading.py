from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from stockstream.loading import loading

SCRIPT = """
import gc, sys, stockstream
stockstream.app
assert not {"pandas", "pygments", "rich"} & sys.modules.keys()
assert gc.isenabled()
import httpx
assert set(httpx.__all__) <= set(dir(httpx))
"""


def test_a_worker_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0


def test_garbage_is_looked_for_again_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        import_module("stockstream" if gc.isenabled() else "stockstream.nowhere")
    assert gc.isenabled()
