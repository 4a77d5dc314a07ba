"""Runs first in a worker whose PYTHONPATH names this folder: takes away the protections that ``FAULTS_OFF`` names."""

from __future__ import annotations

import os
import sys
import traceback
from importlib.machinery import PathFinder

try:
    import protections

    for _name in os.environ["FAULTS_OFF"].split(","):
        getattr(protections, _name)()
    sys.modules["faust"].__spec__ = PathFinder.find_spec("faust")  # faust takes it away, and `python -m faust` needs it
except Exception:  # which Python would tell of, and then run the worker with all its protections
    traceback.print_exc()
    os._exit(3)
