"""Sockets in workers: 300 symbols, two workers, and what is missed when one of them goes."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest
from market_topic import holes_in
from venue import Venue, open_venue

from stockstream.codecs.avro import TickDecoder
from stockstream.codecs.registry import Registry
from stockstream.models import Tick
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

KEY = "a key of the test"
MISSED_AFTER_A_KILL_S = 19


@pytest.fixture
def venue() -> Iterator[Venue]:
    """The fake Yahoo, whose 300 symbols trade about once a second each."""
    with open_venue(symbols=300, trades_per_s=300) as opened:
        yield opened


@pytest.fixture
def system(kafka: KafkaCluster, registry: RegistryServer, venue: Venue) -> Iterator[System]:
    nowhere = "http://127.0.0.1:9"
    settings = {"sink_enabled": "false", "yahoo_url": venue.url, "api_key": KEY}
    with System(kafka.bootstrap, registry.url, nowhere, **settings) as system:
        system.environment["SYMBOLS"] = ",".join(venue.symbols)
        yield system


def ticks_of(system: System) -> list[Tick]:
    """Everything in the tick topic."""

    async def decode() -> list[Tick]:
        registry = Registry(system.registry_url)
        decoder = TickDecoder(registry)
        records = system.topics.read(system.topic("yfinance"))
        await decoder.prepare([record.value for record in records])
        ticks = [decoder.decode(record.key, record.value) for record in records]
        await registry.close()
        return ticks

    return asyncio.run(decode())


def now_known(worker: WorkerProcess) -> dict[str, int]:
    """When the latest price of each symbol was received, as a worker tells it (quiet ones may wait for minutes)."""
    status, answer = worker.get("/latest")
    return {} if status != 200 else {one["symbol"]: one["received_time_ms"] for one in answer["latest"]}


def busy(ticks: list[Tick]) -> list[str]:
    """The symbols that trade every few seconds."""
    counts = Counter(tick.symbol for tick in ticks if tick.kind == "snapshot")
    return [symbol for symbol, count in counts.items() if count >= 5]


def wait_all_newer(worker: WorkerProcess, symbols: list[str], than: dict[str, int], timeout_s: float) -> None:
    def all_newer() -> bool:
        known = now_known(worker)
        return all(known.get(symbol, 0) > than.get(symbol, 0) for symbol in symbols)

    wait_until(all_newer, timeout_s, "a newer price of every symbol")


def put(worker: WorkerProcess, symbol: str, method: str = "PUT", key: str = KEY) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{worker.port}/subscriptions/{symbol}",
        method=method,
        headers={"Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        code, told = error.code, json.loads(error.read())
        error.close()
    assert told["status"] == code
    return code


@pytest.mark.timeout(240)
def test_a_dead_workers_symbols_tick_again_from_another_and_the_hole_is_told(system: System, venue: Venue) -> None:
    first = system.start("w0")
    wait_all_newer(first, venue.symbols, {}, 30)
    second = system.start("w1")
    wait_until(lambda: len(busy(ticks_of(system))) > 100, 60, "a hundred symbols to be busy")
    often = busy(ticks_of(system))
    wait_all_newer(second, often, now_known(first), 60)
    assert not holes_in(ticks_of(system)), "a planned hand-over misses nothing"

    system.kill("w0")
    wait_all_newer(second, often, now_known(second), 60)
    wait_until(lambda: bool(holes_in(ticks_of(system))), 30, "the hole to be told")
    ticks = ticks_of(system)
    gaps = holes_in(ticks)
    assert gaps, "the hole of the dead worker is told"
    assert {gap.cause for gap in gaps} == {"worker lost"}
    lengths_s = [(gap.until - gap.event_time) / 1000 for gap in gaps if gap.until is not None]
    assert 0 < max(lengths_s) < MISSED_AFTER_A_KILL_S, lengths_s


@pytest.mark.timeout(240)
def test_a_worker_that_leaves_in_peace_hands_over_without_a_hole(system: System, venue: Venue) -> None:
    first = system.start("w0")
    second = system.start("w1")
    wait_all_newer(second, venue.symbols, {}, 60)
    wait_until(lambda: len(busy(ticks_of(system))) > 100, 60, "a hundred symbols to be busy")
    first.stop()
    assert first.exit_code == 0
    wait_all_newer(second, busy(ticks_of(system)), now_known(second), 60)
    gaps = holes_in(ticks_of(system))
    assert not gaps, [(gap.symbol, gap.cause, gap.event_time, gap.until) for gap in gaps[:3]]


@pytest.mark.timeout(120)
def test_what_is_watched_changes_at_run_time_with_the_key(system: System, venue: Venue) -> None:
    system.environment["SYMBOLS"] = venue.symbols[0]
    worker = system.start("w0")
    wait_all_newer(worker, venue.symbols[:1], {}, 30)
    added, refused = venue.symbols[1], venue.symbols[2]
    assert put(worker, refused, key="wrong") == 401
    assert put(worker, added) == 201
    wait_all_newer(worker, [added], {}, 30)
    assert put(worker, added) == 200
    assert worker.get(f"/subscriptions/{added}")[1]["added_by"] == "api"
    assert {one["symbol"] for one in worker.get("/subscriptions")[1]["subscriptions"]} == set(venue.symbols[:2])
    assert put(worker, added, "DELETE") == 204
    wait_until(lambda: worker.get(f"/subscriptions/{added}")[0] == 404, 10, "the subscription to go")
    assert put(worker, "NOWHERE:X") == 400
    assert put(worker, added, "DELETE") == 404
