"""Real servers, one of each a run, started when the first test asks for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.fork_server import ForkServer
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import WorkerProcess

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

# `ci`: the same examples on every run. `deep` looks further: HYPOTHESIS_PROFILE=deep, and the failing seed is printed.
settings.register_profile("ci", max_examples=150, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("deep", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure() -> None:
    # SIGTERM, as from `timeout`, must end the servers too: it becomes the interrupt that pytest cleans up after
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Workers are forked from a process that has imported what they need; those with a path of their own are not."""
    opened = WorkerProcess.fork_server = ForkServer()
    yield opened
    WorkerProcess.fork_server = None
    opened.close()


@pytest.fixture(scope="session")
def kafka(fork_server: ForkServer) -> Iterator[KafkaCluster]:
    """One broker, shared: use topic names of your own, and leave it running."""
    with KafkaCluster(kafka_libs()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryServer]:
    """Shared: use subjects of your own, and leave it running."""
    with RegistryServer(registry_home()) as server:
        yield server


@pytest.fixture(scope="session")
def clickhouse_server() -> Iterator[ClickHouseFacade]:
    with ClickHouseFacade() as server:
        yield server


@pytest.fixture
def clickhouse(clickhouse_server: ClickHouseFacade) -> Iterator[ClickHouseFacade]:
    """Shared: use tables of your own, and leave it running; faults do not outlive the test."""
    yield clickhouse_server
    clickhouse_server.clear()
