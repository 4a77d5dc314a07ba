"""``python -m stockstream.cli.demo.worker``: the real worker on an embedded broker, ended with whoever started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from faust.cli.faust import cli

from stockstream.broker.embedded import make_topics
from stockstream.broker.stores import forget_changelogs
from stockstream.worker import load_app

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run until stopped."""
    _end_with_parent()
    app = load_app()
    runtime = app.runtime
    make_topics(
        runtime.settings.kafka_bootstrap_servers, [spec.name for spec in (*runtime.topics, *runtime.changelogs)]
    )
    forget_changelogs(app)
    cli(["-A", "stockstream", "worker", "-l", "info"])


def _end_with_parent() -> None:
    """At once: the broker has gone with it, and nothing could be written any more."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
