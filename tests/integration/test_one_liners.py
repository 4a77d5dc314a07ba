"""What is no fault of a worker's, but looks like one, is told in one line that says what to do."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from websockets.asyncio.server import ServerConnection, serve

from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.testing.jars import kafka_libs
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

MINUTE_MS = 60_000


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, "http://127.0.0.1:1", sink_enabled="false", partitions="2") as system:
        yield system


@pytest.fixture
def silent_venue() -> Iterator[str]:
    """The URL of a venue that accepts every subscription and has nothing to say, as on a weekend."""
    url: Future[str] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def listen(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async def run() -> None:
        ended = asyncio.Event()
        async with serve(listen, "127.0.0.1", 0) as server:
            url.set_result(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            stop.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    yield url.result(30)
    loop, ended = stop.result(30)
    loop.call_soon_threadsafe(ended.set)
    thread.join()


def lines(worker: WorkerProcess) -> list[str]:
    """What a worker said, without Faust's banner and without times and levels."""
    said = [line for line in worker.log.read_text().splitlines() if not line.startswith(("+", "|"))]
    return [re.sub(r"^\[[^]]*\] \[\d+\] \[\w+\] ", "", line).strip() for line in said]


def wait_for_line(worker: WorkerProcess, text: str) -> None:
    wait_until(lambda: any(text in line for line in lines(worker)), 60, f"{worker.name} to say {text!r}")


def closed_symbol() -> str:
    """A symbol whose market opens within the next ten minutes neither by its hours nor by any daylight saving."""
    now_ms = time.time_ns() // 1_000_000
    for symbol in ("AAPL", "VCB.VN", "7203.T"):
        feed = YahooFeed()
        feed.subscribe([symbol], now_ms)
        if not any(feed.is_open(now_ms + minute * MINUTE_MS) for minute in range(10)):
            return symbol
    raise AssertionError("they are in three parts of the world")


def test_a_worker_without_symbols_says_how_to_watch_some(system: System) -> None:
    worker = system.start(report_interval_s="0.5")
    told = "no symbols are subscribed: set SYMBOLS=AAPL,BTC-USD, or `stockstream subscribe AAPL`"
    wait_for_line(worker, told)
    worker.stop()
    assert worker.exit_code == 0
    assert lines(worker).count(told) == 1
    assert not [line for line in lines(worker) if "records" in line or "Traceback" in line]


def test_a_worker_whose_markets_are_all_closed_says_when_one_opens(system: System, silent_venue: str) -> None:
    system.environment["SYMBOLS"] = closed_symbol()
    worker = system.start(yahoo_url=silent_venue)
    wait_for_line(worker, "the markets of all symbols watched here are closed: the first opens by ")
    worker.stop()
    assert worker.exit_code == 0
    (line,) = [line for line in lines(worker) if "are closed" in line]
    assert re.search(r"by (Monday|Tuesday|Wednesday|Thursday|Friday) \d{4}-\d\d-\d\d \d\d:\d\d UTC$", line)
    assert not [line for line in lines(worker) if "no symbols" in line or "Traceback" in line]


def test_a_second_worker_on_the_port_of_the_first_says_which_to_change(system: System) -> None:
    first = system.start("first")
    second = system.start("second", wait=False, web_port=str(first.port))
    wait_until(lambda: second.exit_code is not None, 60, "the second worker to end")
    assert second.exit_code == 1
    assert lines(second) == [
        f"stockstream: port {first.port} of 127.0.0.1 is taken: end who holds it, or set STOCKSTREAM_WEB_PORT to a "
        "free one"
    ]
    assert first.get("/health/ready")[0] == 200
    del system.workers["second"]


def test_a_worker_that_is_stopped_while_its_broker_is_away_leaves(registry: RegistryServer) -> None:
    with (
        KafkaCluster(kafka_libs()) as own,
        System(own.bootstrap, registry.url, "http://127.0.0.1:1", sink_enabled="false", partitions="2") as system,
    ):
        worker = system.start()
        own.kill(0)
        wait_for_line(worker, "Unable connect to node")
        os.kill(worker.pid, signal.SIGTERM)
        wait_until(lambda: worker.exit_code is not None, 90, "the worker to end")
        said = lines(worker)
        # By itself, unless something was still to be written.
        assert worker.exit_code == 0 or (worker.exit_code == 1 and "not stopped within" in said[-1])
        assert "Traceback" not in said
        assert len(said) < 200  # and not a hundred lines a second
        assert max(said.count(line) for line in said if "node" in line) <= 20
