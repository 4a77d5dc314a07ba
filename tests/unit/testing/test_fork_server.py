from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockstream.testing.fork_server import ForkedProcess, ForkServer
from stockstream.testing.process import free_ports


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    opened = ForkServer()
    yield opened
    opened.close()


def start(fork_server: ForkServer, log: Path, module: str, *arguments: str, **environment: str) -> ForkedProcess:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
    with log.open("ab") as file:
        return fork_server.start(module, arguments, mine | environment, file)


def waiting(fork_server: ForkServer, folder: Path) -> ForkedProcess:
    """A worker that waits for a broker."""
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "STOCKSTREAM_DATA_DIR": str(folder),
        "STOCKSTREAM_WEB_PORT": str(free_ports(1)[0]),
    }
    return start(fork_server, folder / "log", "faust", "-A", "stockstream", "worker", **settings)


@pytest.mark.parametrize(("partitions", "code", "told"), [("5", 0, "5"), ("many", 2, "STOCKSTREAM_PARTITIONS")])
def test_a_command_has_its_own_environment_output_and_exit_code(
    fork_server: ForkServer, tmp_path: Path, partitions: str, code: int, told: str
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    ended = start(fork_server, log, "stockstream", "settings", STOCKSTREAM_PARTITIONS=partitions)
    assert ended.wait(60) == ended.poll() == code
    assert log.read_text().startswith("before\n")
    assert told in log.read_text()


def test_a_worker_is_waited_for_and_ended(fork_server: ForkServer, tmp_path: Path) -> None:
    worker = waiting(fork_server, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(1)
    worker.kill()
    assert worker.wait(60) == -signal.SIGKILL
    worker.terminate()  # nobody


def test_what_the_fork_server_has_started_ends_with_it(tmp_path: Path) -> None:
    fork_server = ForkServer()
    worker = waiting(fork_server, tmp_path)
    fork_server.close()
    assert worker.wait(60) == -signal.SIGKILL
