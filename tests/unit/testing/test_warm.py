from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockstream.testing.warm import Nursery, WarmProcess


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    opened = Nursery()
    yield opened
    opened.close()


def start(nursery: Nursery, log: Path, module: str, *arguments: str, **environment: str) -> WarmProcess:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
    with log.open("ab") as file:
        return nursery.start(module, arguments, mine | environment, file)


def waiting(nursery: Nursery, folder: Path) -> WarmProcess:
    settings = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "STOCKSTREAM_DATA_DIR": str(folder)}
    return start(nursery, folder / "log", "faust", "-A", "stockstream", "worker", STOCKSTREAM_WEB_PORT="0", **settings)


@pytest.mark.parametrize(("partitions", "code", "told"), [("5", 0, "5"), ("many", 2, "STOCKSTREAM_PARTITIONS")])
def test_a_command_has_its_own_environment_output_and_exit_code(
    nursery: Nursery, tmp_path: Path, partitions: str, code: int, told: str
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    ended = start(nursery, log, "stockstream", "settings", STOCKSTREAM_PARTITIONS=partitions)
    assert ended.wait(60) == ended.poll() == code
    assert log.read_text().startswith("before\n")
    assert told in log.read_text()


def test_a_worker_is_waited_for_and_ended(nursery: Nursery, tmp_path: Path) -> None:
    worker = waiting(nursery, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.1)
    worker.kill()
    assert worker.wait(60) == -signal.SIGKILL
    worker.terminate()  # nobody


def test_what_the_nursery_has_started_ends_with_it(tmp_path: Path) -> None:
    nursery = Nursery()
    worker = waiting(nursery, tmp_path)
    nursery.close()
    assert worker.wait(60) == -signal.SIGKILL
