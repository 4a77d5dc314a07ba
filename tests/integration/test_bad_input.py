"""Whatever is wrong at the start or comes in later, a user is told in one line what it is and what to do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from stockstream.codecs.avro import Encoder
from stockstream.codecs.registry import Registry
from stockstream.codecs.version1 import downgrade
from stockstream.models import TICK_SCHEMA_V1, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

TOPICS_MADE = re.compile(r"creat(ed|ing) topics")
NOBODY = "127.0.0.1:1"
SAID_S = 60  # on a busy machine; else within ten
T0_MS = 1_700_000_040_000  # the start of a minute, not of five
PRINTED_MS = {"AAPL": T0_MS, "VCB.VN": T0_MS + 5 * 3_600_000}  # after the close in New York; the morning in Ho Chi Minh
MINUTE_MS = 60_000


def said(worker: WorkerProcess) -> list[str]:
    """What a worker printed, without Faust's banner and without times and levels."""
    lines = [line for line in worker.log.read_text().splitlines() if not line.startswith(("+", "|"))]
    return [re.sub(r"^\[[^]]*\] \[\d+\] \[\w+\] ", "", line).strip() for line in lines]


def says(worker: WorkerProcess, text: str) -> None:
    """Wait until it has said so, or fail with what it said instead."""
    try:
        wait_until(lambda: any(text in line for line in said(worker)), SAID_S, f"{worker.name} to say {text!r}")
    except TimeoutError as error:
        raise AssertionError("\n".join([str(error), *said(worker)])) from error


def ends(worker: WorkerProcess, timeout_s: float = SAID_S) -> int | None:
    wait_until(lambda: worker.exit_code is not None, timeout_s, f"{worker.name} to end")
    return worker.exit_code


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def refused(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade, silent_port: int
) -> Iterator[dict[str, WorkerProcess]]:
    """Workers that cannot start, by what is wrong; some wait most of their time, so they do it together."""
    silent = f"127.0.0.1:{silent_port}"
    servers = {"bootstrap": kafka.bootstrap, "registry_url": registry.url, "clickhouse_url": clickhouse_server.url}
    wrong: dict[str, dict[str, str]] = {
        "silent broker": {"bootstrap": silent, "start_timeout_s": "4"},
        "silent registry": {"registry_url": f"http://{silent}", "start_timeout_s": "4"},
        "no broker": {"bootstrap": NOBODY, "start_timeout_s": "4"},
        "no registry": {"registry_url": f"http://{NOBODY}", "start_timeout_s": "4"},
        "unknown setting": {"partition": "4"},
        "malformed setting": {"partitions": "many"},
        "no certificate": {"KAFKA_SSL_CA_FILE": "/nowhere.pem", "KAFKA_SECURITY_PROTOCOL": "SSL"},
        "data folder": {},
        "web port": {"web_port": str(silent_port)},
        "partitions": {},
        "schema": {},
        "readers of version 1": {},
    }
    with ExitStack() as stack:
        workers = {}
        for what, given in wrong.items():
            arguments = {**servers, **{name: value for name, value in given.items() if name in servers}}
            settings = {name: value for name, value in given.items() if name.islower() and name not in servers}
            system = stack.enter_context(System(**arguments, **settings))
            system.environment.update({name: value for name, value in given.items() if name.isupper()})
            prepare(what, system)
            worker = workers[what] = system.start(what.replace(" ", "-"), wait=False)
            if not what.startswith("silent"):  # one after the other: to import everything takes the processor's time
                wait_until(partial(has_spoken, worker), SAID_S, f"{what} to be told")
        yield workers


def has_spoken(worker: WorkerProcess) -> bool:
    return worker.exit_code is not None or bool(said(worker))


def prepare(what: str, system: System) -> None:
    subject = f"{system.topic('yfinance')}-value"
    if what == "data folder":
        (system.root / "data-folder").write_text("a file is in its place")
    elif what == "partitions":
        system.topics.create(system.topic("yfinance"), 3)
    elif what == "schema":
        other = {"type": "record", "name": "candle", "namespace": "finance.avro", "fields": [
            {"name": "symbol", "type": "int"}, {"name": "mine", "type": "string"},
        ]}  # fmt: skip
        register(system, f"{system.topic('candles')}-value", other)
    elif what == "readers of version 1":
        register(system, subject, TICK_SCHEMA_V1)
        answer = httpx.put(f"{system.registry_url}/config/{subject}", json={"compatibility": "FULL"}, timeout=30)
        answer.raise_for_status()


def register(system: System, subject: str, schema: dict[str, Any]) -> int:
    async def ensure() -> int:
        registry = Registry(system.registry_url, timeout_s=30)
        try:
            return await registry.ensure(subject, schema)
        finally:
            await registry.close()

    return asyncio.run(ensure())


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ("no broker", 1, [f"no Kafka broker answers at {NOBODY}", "Connect call failed", "KAFKA_BOOTSTRAP_SERVERS"]),
        ("silent broker", 1, ["no Kafka broker answers at", "nothing within 5 s", "KAFKA_BOOTSTRAP_SERVERS"]),
        ("no registry", 1, [f"the schema registry at {NOBODY} does not answer", "SCHEMA_REGISTRY_URL"]),
        ("silent registry", 1, ["the schema registry at", "does not answer", "SCHEMA_REGISTRY_URL"]),
        ("unknown setting", 2, ["STOCKSTREAM_PARTITION is no setting", "the nearest is STOCKSTREAM_PARTITIONS"]),
        ("malformed setting", 2, ["STOCKSTREAM_PARTITIONS in the environment is 'many'", "must be a valid integer"]),
        ("no certificate", 2, ["KAFKA_SSL_CA_FILE is /nowhere.pem", "No such file"]),
        ("data folder", 1, ["data-folder", "cannot be written", "STOCKSTREAM_DATA_DIR"]),
        ("web port", 1, ["of 127.0.0.1 is taken", "STOCKSTREAM_WEB_PORT"]),
        ("partitions", 1, ["yfinance has 3 partitions instead of 4", "set STOCKSTREAM_PARTITIONS=3"]),
        ("schema", 1, ["candles-value (compatibility", "refuses our schema candle", "topic_prefix"]),
        ("readers of version 1", 1, ["yfinance-value (compatibility FULL)", "set tick_schema=1"]),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    refused: dict[str, WorkerProcess], what: str, code: int, told: list[str]
) -> None:
    worker = refused[what]
    says(worker, told[0])
    assert ends(worker) == code
    lines = [line for line in said(worker) if not TOPICS_MADE.search(line)]
    assert all(part in lines[-1] for part in told), lines
    assert lines[-1].startswith("stockstream: ")
    # What is waited for is told when it is missed and when it is given up, all else once.
    waited = what in ("no broker", "no registry")
    assert len(lines) == 1 + waited, lines
    assert bool(re.search(r"trying again for up to [0-4] s$", lines[0])) == waited
    assert ("gave up after STOCKSTREAM_START_TIMEOUT_S=4" in lines[-1]) == ("broker" in what or "registry" in what)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_for_a_broker(number: signal.Signals, code: int) -> None:
    with System(NOBODY, f"http://{NOBODY}", f"http://{NOBODY}", start_timeout_s="60") as system:
        worker = system.start(wait=False)
        says(worker, "no Kafka broker answers")
        os.kill(worker.pid, number)
        assert ends(worker) == code
        lines = said(worker)
        assert lines[-1] == f"{number.name} before the start was done; ticks: none"
        assert len(lines) == 2, lines


@pytest.fixture(scope="module")
def running(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade
) -> Iterator[tuple[System, WorkerProcess]]:
    """A worker with candles of two symbols: version 1 of the schema, and plain JSON."""
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, partitions="2", close_delay_s="0") as system:
        schema_id = register(system, f"{system.topic('yfinance')}-value", TICK_SCHEMA_V1)
        worker = system.start()
        system.topics.produce(system.topic("yfinance"), [*version_1(schema_id), *plain_json()])
        system.wait_drained(30)
        yield system, worker


PRINTS = [(0, 189.37, 1000), (20_000, 190.5, 1400), (50_000, 189.9, 1500), (70_000, 191.25, 1800)]
"""(ms after T0, price, cumulative volume of the day)."""


def version_1(schema_id: int) -> Iterator[tuple[bytes, bytes]]:
    encode = Encoder(TICK_SCHEMA_V1, schema_id)
    for after_ms, price, volume in PRINTS:
        tick = Tick("AAPL", PRINTED_MS["AAPL"] + after_ms, price, day_volume=volume, kind="snapshot", exchange="NMS")
        tick.producer_timestamp = tick.event_time + 300
        assert downgrade(tick)["timestamp"] == str(tick.event_time)
        yield b"AAPL", encode(tick)


def plain_json() -> Iterator[tuple[bytes, bytes]]:
    for after_ms, price, volume in PRINTS:
        at_ms = PRINTED_MS["VCB.VN"] + after_ms
        record = {"symbol": "VCB.VN", "price": price, "timestamp": str(at_ms), "day_volume": volume, "exchange": "VSE"}
        yield b"VCB.VN", json.dumps({**record, "producer_timestamp": at_ms + 300}).encode()


@pytest.mark.parametrize(("symbol", "session"), [("AAPL", "extended"), ("VCB.VN", "regular")])
def test_old_and_plain_records_make_right_candles(
    running: tuple[System, WorkerProcess], symbol: str, session: str
) -> None:
    system, worker = running
    made = system.candles_topic()
    first, second = (made[symbol, "1m", session, PRINTED_MS[symbol] + minute * MINUTE_MS] for minute in (0, 1))
    assert (first.open, first.high, first.low, first.close) == (189.37, 190.5, 189.37, 189.9)
    # Nobody knows what was traded before the first print: its volume counts from there.
    assert (first.volume, first.partial, first.trades, first.vwap) == (500.0, True, None, None)
    assert (second.open, second.close, second.volume, second.partial) == (191.25, 191.25, 300.0, False)
    assert system.sql_candles("1m")[second.key][4] == 300.0
    status, latest = worker.get(f"/latest/{symbol}")
    assert (status, latest["price"], latest["day_volume"]) == (200, 191.25, 1800)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/latest/no%20symbol", 400, "no symbol"),
        ("/latest/NOBODY", 404, "no price of NOBODY"),
        ("/candles/no%20symbol", 400, "no symbol"),
        ("/candles/NOBODY", 404, "no candles of NOBODY"),
        ("/candles/AAPL?interval=2m", 400, "1m, 5m, 1d"),
        ("/candles/AAPL?limit=0", 400, "use 1 to 10000"),
        ("/candles/AAPL?limit=10001", 400, "use 1 to 10000"),
        ("/candles/AAPL?limit=many", 400, "use 1 to 10000"),
        ("/candles/AAPL?start=yesterday", 400, "start='yesterday'"),
        ("/candles/AAPL?start=2000&end=1000", 400, "start must lie before end"),
        ("/candles/AAPL?intervall=1m", 400, "interval"),
        ("/tables/candles_2m/AAPL", 400, "candles_1m, candles_5m, candles_1d, latest"),
        ("/tables/latest/no%20symbol", 400, "no symbol"),
        ("/tables/latest/NOBODY", 404, "no row of NOBODY"),
        ("/nothing", 404, None),
    ],
)
def test_a_bad_request_is_answered_with_a_problem(
    running: tuple[System, WorkerProcess], path: str, status: int, told: str | None
) -> None:
    found, headers, problem = running[1].ask(path)
    assert (found, headers.get_content_type()) == (status, "application/problem+json")
    assert (problem["status"], problem["instance"]) == (status, path.partition("?")[0])
    assert told is None or told in problem["detail"]


@pytest.mark.parametrize("path", ["/latest", "/latest/AAPL", "/candles/AAPL", "/tables/latest/AAPL", "/health/ready"])
def test_what_is_read_only_cannot_be_posted_to(running: tuple[System, WorkerProcess], path: str) -> None:
    answer = httpx.post(f"http://127.0.0.1:{running[1].port}{path}", json={}, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
    assert "GET" in answer.headers["Allow"]
    assert answer.json()["status"] == 405


def test_two_workers_cannot_share_a_data_folder(running: tuple[System, WorkerProcess]) -> None:
    system, worker = running
    (system.root / "other-name").symlink_to(worker.data, target_is_directory=True)
    second = system.start("other-name", wait=False)
    assert ends(second) == 1
    (line,) = said(second)
    assert "another worker runs on the data folder" in line
    assert str(Path("other-name")) in line
    assert "STOCKSTREAM_DATA_DIR" in line
    assert worker.get("/health/ready")[0] == 200
    del system.workers["other-name"]


def test_candles_are_made_without_clickhouse_and_stored_when_it_is_back(
    kafka: KafkaCluster, registry: RegistryServer, clickhouse: ClickHouseFacade
) -> None:
    clickhouse.fault("refuse", seconds=100)
    with System(kafka.bootstrap, registry.url, clickhouse.url, partitions="2", close_delay_s="0") as system:
        worker = system.start(wait=False)
        says(worker, f"the sink waits: ClickHouse at {clickhouse.url} is not usable: [Errno 111] Connection refused")
        worker.wait_ready(30)
        status, health = worker.get("/health/ready")
        assert (status, health["status"]) == (200, "degraded")
        assert "ClickHouse" in next(check["detail"] for check in health["checks"] if check["name"] == "sink")
        system.produce([Tick("BINANCE:A", T0_MS + 1, 2.5, 4.0, trade_id=1, source="binance")])
        system.wait_drained(30, sink=False)
        key = ("BINANCE:A", "1m", "regular", T0_MS)
        wait_until(lambda: key in system.candles_topic(), 30, "the candle to be published")
        status, problem = worker.get("/candles/BINANCE:A")
        assert (status, problem["type"]) == (503, "urn:stockstream:problem:storage-unreachable")
        clickhouse.clear()
        system.wait_drained(60)
        assert system.sql_candles("1m")[key][:5] == (2.5, 2.5, 2.5, 2.5, 4.0)
        wait_until(lambda: worker.get("/health/ready")[1]["status"] == "ready", 10, "the worker to be ready again")
        (line,) = [line for line in said(worker) if "the sink waits" in line]
        assert line.endswith("; start it, or set CLICKHOUSE_URL")
