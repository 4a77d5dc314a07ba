from __future__ import annotations

import errno
import fcntl
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stockstream.errors import BrokerUnreachable, RegistryUnreachable, StockstreamError, TopicMismatch
from stockstream.startup import check_port, claim, patiently
from stockstream.testing.process import free_ports


def test_a_claimed_folder_is_made_and_kept_from_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    held = claim(folder)
    with pytest.raises(
        StockstreamError, match=r"another worker runs on the data folder .*/a/b: .*STOCKSTREAM_DATA_DIR"
    ):
        claim(folder)
    held.close()
    claim(folder).close()


def test_a_claim_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from stockstream.startup import claim;"
        f"held = claim(Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StockstreamError, match="another worker"):
            claim(tmp_path)
        other.kill()
    claim(tmp_path).close()


def test_what_is_no_folder_cannot_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StockstreamError, match=r"file/x cannot be written \(Not a directory\).*STOCKSTREAM_DATA_DIR"):
        claim(tmp_path / "file" / "x")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(StockstreamError, match=r"cannot be written \(No space left on device\): make room on its disk"):
        claim(tmp_path)


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StockstreamError, match=r"cannot be locked \(No locks available\).*local disk"):
        claim(tmp_path)


async def test_a_free_port_is_left_free() -> None:
    (port,) = free_ports(1)
    await check_port("127.0.0.1", port)
    taken = rf"port {port} of 127\.0\.0\.1 is taken.*STOCKSTREAM_WEB_PORT"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StockstreamError, match=taken):
        await check_port("127.0.0.1", port)
    await check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid"])
async def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(StockstreamError, match=f"{host} is no address to listen on .*STOCKSTREAM_WEB_HOST"):
        await check_port(host, 6066)


async def test_steps_follow_each_other_and_each_trouble_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    troubles = [BrokerUnreachable("no broker"), BrokerUnreachable("no broker"), RegistryUnreachable("no registry")]

    async def topics() -> None:
        if len(troubles) > 1:
            raise troubles.pop(0)
        done.append("topics")

    async def schemas() -> None:
        if troubles:
            raise troubles.pop(0)
        done.append("schemas")

    await patiently([topics, schemas], 30)
    assert done == ["topics", "schemas"]
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(";")[0] for text in told] == ["no broker", "no registry"]


async def test_the_last_trouble_ends_the_wait() -> None:
    async def away() -> None:
        raise RegistryUnreachable("no registry")

    with pytest.raises(RegistryUnreachable, match=r"^no registry; gave up after STOCKSTREAM_START_TIMEOUT_S=0\.1$"):
        await patiently([away], 0.1)


async def test_what_does_not_pass_is_not_waited_for() -> None:
    async def wrong() -> None:
        raise TopicMismatch("three instead of four")

    with pytest.raises(TopicMismatch, match=r"^three instead of four$"):
        await patiently([wrong], 30)


@pytest.mark.parametrize(("code", "expected", "told"), [(None, 0, ""), (70, 70, ""), ("no more", 1, "no more")])
def test_a_process_leaves_with_its_code_and_without_being_taken_apart(code: object, expected: int, told: str) -> None:
    program = (
        "import atexit, sys; from stockstream.startup import leave\n"
        "atexit.register(print, 'taken apart'); sys.stdout.write('done'); "
        f"leave({code!r})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (expected, "done", told)
