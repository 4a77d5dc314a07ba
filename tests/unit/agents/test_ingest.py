"""Which connections a worker has open, without Kafka or sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.ingest import Ingest
from stockstream.agents.liveness import Alive
from stockstream.core.allocation import ConnectionId
from stockstream.models import Subscription, Tick
from stockstream.sources.coverage import Coverage
from stockstream.sources.status import Status, SymbolStatus


class Emitter:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []

    async def send(self, ticks: Sequence[Tick]) -> None:
        self.told += [(tick.kind, tick.event_time, tick.until) for tick in ticks]

    async def flush(self, timeout_s: float) -> bool:
        return True


LATENCY_MS, EFFECTIVE_AFTER_MS = 40, 300


class Runner:
    def __init__(self, symbols: Sequence[str], on_stop: Callable[[], None]) -> None:
        self.on_stop = on_stop
        self.coverage = Coverage("venue", LATENCY_MS, EFFECTIVE_AFTER_MS)
        self.status = Status("streaming", 1, symbols={symbol: SymbolStatus() for symbol in symbols})
        self._stopped = asyncio.Event()

    @property
    def is_inherited(self) -> bool:
        """Asked of the first symbol, whose start is then neither earlier than it is nor followed by a hole."""
        return [tick.event_time for tick in self.coverage.subscribed(["A"], 0)] == [0]

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self) -> None:
        self.on_stop()
        self._stopped.set()

    async def add(self, symbols: Sequence[str]) -> None:
        self.status.symbols.update({symbol: SymbolStatus() for symbol in symbols})

    async def remove(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            del self.status.symbols[symbol]


class Reporter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.looks: list[list[str]] = []
        self.closed_connections: list[tuple[str, list[str]]] = []

    def look(self, held: Any) -> None:
        self.looks.append([str(connection) for connection in held])

    def closed(self, connection: ConnectionId, status: Status) -> None:
        self.closed_connections.append((str(connection), list(status.symbols)))


class Scene:
    def __init__(self, connections: int | None = None) -> None:
        ready = SimpleNamespace(ready=True)
        self.owned = {0}
        self.has_peers = False
        self.watched: dict[str, Subscription] = {}
        self.reporter = Reporter()
        self.known: dict[str, Alive] = {}
        self.emitter = Emitter()
        self.now_ms = 1

        async def tell(connection: ConnectionId, until_ms: int) -> None:
            self.known[str(connection)] = Alive("we", until_ms)

        async def forget(connection: ConnectionId) -> None:
            self.known.pop(str(connection), None)

        liveness = SimpleNamespace(
            follower=ready,
            of=lambda connection: self.known.get(str(connection)),
            taken_over=lambda connection: False,
            tell=tell,
            forget=forget,
        )
        fakes: dict[str, Any] = {
            "emitters": {"yahoo": self.emitter},
            "make_runner": lambda connection, symbols: Runner(symbols, self.pass_time),
            "reporter": self.reporter,
        }
        subscriptions: Any = SimpleNamespace(follower=ready, watched=self.watched)
        service: Any = liveness
        self.ingest = Ingest(
            subscriptions,
            service,
            symbols_per_connection=lambda source: {"yahoo": 2}[source],
            partition_of=lambda key: 0,
            owned=lambda: self.owned,
            has_peers=lambda: self.has_peers,
            now_ms=lambda: self.now_ms,
            connections=lambda source: connections,
            **fakes,
        )

    def pass_time(self) -> None:
        self.now_ms += 2000

    def watch(self, source: str, *symbols: str) -> None:
        self.watched.update({symbol: Subscription(symbol, source, "cli", 1) for symbol in symbols})

    def open(self) -> dict[str, list[str]]:
        return {str(connection): list(status.symbols) for connection, status in self.ingest.status().items()}


@pytest.fixture
async def scene() -> Any:
    scene = Scene()
    yield scene
    await scene.ingest.on_stop()


async def test_connections_follow_what_is_watched(scene: Scene) -> None:
    scene.watch("yahoo", "A", "B", "C")
    await scene.ingest._look()
    assert scene.open() == {"yahoo/0": ["A", "B"], "yahoo/1": ["C"]}
    del scene.watched["A"], scene.watched["B"]
    await scene.ingest._look()
    assert scene.open() == {"yahoo/0": ["C"]}
    assert scene.reporter.looks == [["yahoo/0", "yahoo/1"], ["yahoo/0"]]
    assert scene.reporter.closed_connections == [("yahoo/1", ["C"])]


async def test_symbols_of_a_source_that_is_not_ours_are_left_alone(scene: Scene) -> None:
    scene.watch("yahoo", "A")
    scene.watch("nowhere", "NOWHERE:B")
    await scene.ingest._look()
    assert scene.open() == {"yahoo/0": ["A"]}


def runner_of(scene: Scene, connection: str) -> Any:
    return scene.ingest._held[ConnectionId("yahoo", int(connection[-1]))].runner


async def test_closing_takes_time_that_does_not_count_as_watched(scene: Scene) -> None:
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    scene.now_ms = 5000
    await scene.ingest.on_stop()
    assert scene.known == {"yahoo/0": Alive("we", 5000)}


async def test_what_was_missed_while_a_connection_was_down_is_not_hidden_by_closing_it(scene: Scene) -> None:
    scene.now_ms = 1000
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    runner_of(scene, "yahoo/0").status.state = "waiting"
    scene.now_ms = 60_000
    await scene.ingest.on_stop()
    assert scene.known == {"yahoo/0": Alive("we", 1000)}


async def test_a_hole_that_was_not_told_yet_is_left_to_the_next_worker(scene: Scene) -> None:
    scene.known["yahoo/0"] = Alive("another", 1000)
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    runner_of(scene, "yahoo/0").status.connections = 1
    runner_of(scene, "yahoo/0").status.since_ms = 8000
    scene.now_ms = 9000
    await scene.ingest._look()
    await scene.ingest.on_stop()
    assert (scene.known, scene.emitter.told) == ({"yahoo/0": Alive("another", 1000)}, [])


async def test_the_hole_of_a_worker_that_is_lost_is_told_once(scene: Scene) -> None:
    scene.known["yahoo/0"] = Alive("another", 1000)
    scene.watch("yahoo", "A", "B")
    await scene.ingest._look()
    runner_of(scene, "yahoo/0").status.connections = 1
    runner_of(scene, "yahoo/0").status.since_ms = 8000
    for scene.now_ms in (9000, 13_000, 14_000):
        await scene.ingest._look()
    assert runner_of(scene, "yahoo/0").is_inherited
    hole = "gap", 1000 - LATENCY_MS, 8000 + EFFECTIVE_AFTER_MS
    assert scene.emitter.told == [hole, hole]
    assert scene.known == {"yahoo/0": Alive("we", 14_000)}


async def test_a_connection_that_was_not_wanted_for_a_while_has_missed_nothing(scene: Scene) -> None:
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    assert not runner_of(scene, "yahoo/0").is_inherited
    del scene.watched["A"]
    await scene.ingest._look()
    assert scene.known == {}
    scene.watch("yahoo", "B")
    scene.now_ms += 60_000
    await scene.ingest._look()
    runner_of(scene, "yahoo/0").status.connections = 1
    scene.now_ms += 60_000
    await scene.ingest._look()
    assert scene.emitter.told == []


async def test_symbols_that_no_connection_has_room_for_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(connections=1)
    scene.watch("yahoo", "A", "B", "C", "D", "E")
    for _ in range(3):
        await scene.ingest._look()
    assert scene.open() == {"yahoo/0": ["A", "B"]}
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "yahoo: 3 symbols are not watched, there is no room for them: unsubscribe others"
    ]
    del scene.watched["A"]
    await scene.ingest._look()
    assert scene.open() == {"yahoo/0": ["B", "C"]}
    await scene.ingest.on_stop()


@pytest.mark.parametrize(("connections", "open_after"), [(1, {}), (None, {"yahoo/0": ["A"]})])
async def test_where_connections_are_counted_ours_makes_room_for_the_next_owners(
    connections: int | None, open_after: dict[str, list[str]]
) -> None:
    scene = Scene(connections)
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    scene.owned = set()
    await scene.ingest._look()
    assert scene.open() == open_after


async def test_where_connections_are_counted_a_worker_that_stops_does_not_wait_for_the_next() -> None:
    scene = Scene(connections=1)
    scene.watch("yahoo", "A")
    await scene.ingest._look()
    scene.has_peers = True
    await asyncio.wait_for(scene.ingest.on_stop(), 2)
    assert scene.open() == {}
