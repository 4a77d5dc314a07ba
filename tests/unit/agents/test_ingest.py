"""Which connections a worker has open, without Kafka or sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.ingest import Ingest
from stockstream.core.allocation import ConnectionId
from stockstream.models import Subscription, Tick
from stockstream.sources.status import Status, SymbolStatus


class Emitter:
    async def send(self, ticks: Sequence[Tick]) -> None:
        raise AssertionError("nothing was missed")

    async def flush(self, timeout_s: float) -> bool:
        return True


class Runner:
    def __init__(self, symbols: Sequence[str]) -> None:
        self.status = Status("streaming", 1, symbols={symbol: SymbolStatus() for symbol in symbols})
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self) -> None:
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
    def __init__(self) -> None:
        ready = SimpleNamespace(ready=True)
        self.watched: dict[str, Subscription] = {}
        self.reporter = Reporter()
        self.told: list[str] = []

        async def tell(connection: ConnectionId, until_ms: int) -> None:
            self.told.append(str(connection))

        liveness = SimpleNamespace(
            follower=ready, of=lambda connection: None, taken_over=lambda connection: False, tell=tell
        )
        fakes: dict[str, Any] = {
            "emitters": {"yahoo": Emitter()},
            "make_runner": lambda connection, symbols: Runner(symbols),
            "reporter": self.reporter,
        }
        subscriptions: Any = SimpleNamespace(follower=ready, watched=self.watched)
        service: Any = liveness
        self.ingest = Ingest(
            subscriptions,
            service,
            symbols_per_connection=lambda source: {"yahoo": 2}[source],
            partition_of=lambda key: 0,
            owned=lambda: {0},
            has_peers=lambda: False,
            now_ms=lambda: 1,
            **fakes,
        )

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
