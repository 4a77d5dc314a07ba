"""A run in a process of its own, which may die of an input, take too much memory, or not come back."""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from fuzz.run import Finding, Outcome, run
from fuzz.target import Target

_MEMORY_BYTES = 4 << 30
_SILENT_S = 300.0
_MEGABYTE = 1 << 20


def run_apart(target: Target, seed: int, inputs: int) -> Outcome:
    """As `run`; the end of the process is a finding at the first input of its block.

    The process may have 4 GiB of addresses, and is ended when a block of inputs has taken 5 minutes.
    """
    context = multiprocessing.get_context("fork")
    reached: Any = context.Value("q", 0)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(there, reached, target, seed, inputs))
    process.start()
    there.close()
    try:
        outcome: Outcome = here.recv()
    except EOFError:
        process.join()
        told = f"Died: its process ended with exit code {process.exitcode}"
        outcome = Outcome(target.name, inputs=reached.value)
        outcome.findings.append(Finding(target.name, seed, reached.value, told, "its block", b""))
    process.join()
    return outcome


def _run(there: Connection, reached: Synchronized[int], target: Target, seed: int, inputs: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))

    def on_block(first: int) -> None:
        reached.value = first
        faulthandler.dump_traceback_later(_SILENT_S, exit=True)

    outcome = run(target, seed, inputs, on_block)
    faulthandler.cancel_dump_traceback_later()
    outcome.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // _MEGABYTE
    there.send(outcome)
