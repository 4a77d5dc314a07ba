"""A real worker's HTTP side that asks for keys: who may do what, keys that change while it runs, and no secret told."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from venue import Venue, open_venue

from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.process import HOST
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until
from stockstream.web.keys import READ, SUBSCRIPTIONS_WRITE, make_key

OF_THE_SETTINGS = "marked-secret-of-the-settings"


@pytest.fixture
def venue() -> Iterator[Venue]:
    with open_venue(symbols=3, trades_per_s=30) as opened:
        yield opened


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "api-keys"


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, venue: Venue, keys_file: Path) -> Iterator[System]:
    settings = {
        "sink_enabled": "false",
        "yahoo_url": venue.url,
        "partitions": "2",
        "replication": "1",
        "reads_open": "false",
        "api_key": OF_THE_SETTINGS,
        "api_keys_file": str(keys_file),
        "web_max_streams_per_client": "2",
        "web_failed_keys_per_minute": "5",
        "log_level": "debug",
    }
    with System(kafka.bootstrap, registry.url, "http://127.0.0.1:9", **settings) as system:
        system.environment["SYMBOLS"] = ",".join(venue.symbols)
        yield system


def ask(worker: WorkerProcess, method: str, path: str, key: str | None = None) -> tuple[int, Message, str]:
    request = urllib.request.Request(f"http://{HOST}:{worker.port}{path}", method=method)
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.headers, "" if path.startswith("/stream") else answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def status(worker: WorkerProcess, method: str, path: str, key: str | None = None) -> int:
    return ask(worker, method, path, key)[0]


def owners(worker: WorkerProcess, symbols: list[str], key: str) -> set[int]:
    return {status(worker, "GET", f"/tables/latest/{symbol}", key) for symbol in symbols}


@pytest.mark.timeout(240)
def test_a_worker_asks_for_keys_and_takes_new_ones_while_it_runs(system: System, venue: Venue, keys_file: Path) -> None:
    (reader, read_key), (writer, write_key) = make_key("reader", [READ]), make_key("writer", [SUBSCRIPTIONS_WRITE])
    keys_file.write_text(f"{read_key.line}\n{write_key.line}\n")
    worker, symbol = system.start(), venue.symbols[0]
    answers: list[str] = []

    def told(method: str, path: str, key: str | None, code: int) -> None:
        found, headers, body = ask(worker, method, path, key)
        assert found == code, (method, path, body)
        answers.append(f"{headers}{body}")

    wait_until(lambda: status(worker, "GET", f"/latest/{symbol}", reader) == 200, 60, "a price")
    for path in ("/latest", "/metrics", "/gaps", "/subscriptions", "/stream", f"/tables/latest/{symbol}"):
        told("GET", path, None, 401)
        told("GET", path, writer, 403)
        told("GET", path, reader, 200)
    for path in ("/", "/health/live", "/health/ready", "/openapi.json", "/docs"):
        told("GET", path, None, 200)
    told("PUT", "/subscriptions/WATCHED", None, 401)
    told("PUT", "/subscriptions/WATCHED", reader, 403)
    told("PUT", "/subscriptions/WATCHED", writer, 201)
    wait_until(lambda: "WATCHED" in ask(worker, "GET", "/subscriptions", reader)[2], 30, "it to be watched")
    told("PUT", "/subscriptions/WATCHED", OF_THE_SETTINGS, 200)
    told("DELETE", "/subscriptions/WATCHED", writer, 204)

    # Rotated: the new key is there before the old one goes
    new, new_key = make_key("reader-2", [READ])
    keys_file.write_text(f"{read_key.line}\n{write_key.line}\n{new_key.line}\n")
    time.sleep(1.1)  # the file is looked at once a second
    told("GET", "/latest", new, 200)
    told("GET", "/latest", reader, 200)
    keys_file.write_text(f"{write_key.line}\n{new_key.line}\n")
    time.sleep(1.1)
    told("GET", "/latest", reader, 401)
    told("GET", "/latest", new, 200)
    keys_file.write_text(f"{new_key.line}\nbroken {new}\n")
    time.sleep(1.1)
    told("GET", "/health/ready", new, 200)
    assert "is no use: line 2" in answers[-1]
    told("GET", "/health/ready", None, 200)
    assert "is no use" not in answers[-1]
    assert '"degraded"' in answers[-1]
    told("PUT", "/subscriptions/WATCHED", writer, 201)

    for _ in range(4):
        told("GET", "/latest", "marked-guess", 401)
    told("GET", "/latest", "marked-guess", 429)
    told("GET", "/latest", new, 429)
    assert "Retry-After: " in answers[-1]

    worker.stop()
    said = "".join(answers) + worker.log.read_text()
    for secret in (reader, writer, new, OF_THE_SETTINGS, "marked-guess"):
        assert secret not in said
    assert "PUT /subscriptions/WATCHED by the API key writer" in said
    assert "PUT /subscriptions/WATCHED by the API key STOCKSTREAM_API_KEY" in said


@pytest.mark.timeout(240)
def test_a_row_is_asked_of_its_owner_with_the_readers_key(system: System, venue: Venue, keys_file: Path) -> None:
    reader, read_key = make_key("reader", [READ])
    keys_file.write_text(read_key.line)
    first, second = system.start("w0"), system.start("w1")
    for worker in (first, second):
        wait_until(
            lambda worker=worker: owners(worker, venue.symbols, reader) == {200}, 60, "every row, from any worker"
        )
        assert owners(worker, venue.symbols, "") == {401}


def test_a_file_of_keys_that_is_no_use_ends_the_start(system: System, keys_file: Path) -> None:
    keys_file.write_text("ci read stockstream_marked\n")
    worker = system.start(wait=False)
    wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
    assert worker.exit_code == 2
    log = worker.log.read_text()
    assert f"the file of API keys {keys_file} (STOCKSTREAM_API_KEYS_FILE) is no use: line 1: " in log
    assert "stockstream_marked" not in log
    assert json.dumps("Traceback") not in log
