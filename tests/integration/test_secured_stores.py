"""A real registry and ClickHouse's engine behind TLS, with certificates of an authority that only we know."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tls_proxy import TlsProxy, tls_before

from stockstream.models import Tick
from stockstream.testing.certificates import Authority
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

T0_MS = 1_700_000_040_000
SECRET = "sesame/8a21"  # noqa: S105 - made up here, and looked for in what is printed
REGISTRY_CA, CLICKHOUSE_CA = "STOCKSTREAM_SCHEMA_REGISTRY_CA_FILE", "STOCKSTREAM_CLICKHOUSE_CA_FILE"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def proxies(
    registry: RegistryServer, clickhouse: ClickHouseFacade, authority: Authority
) -> Iterator[tuple[TlsProxy, TlsProxy]]:
    certificate = authority.issue("server", ["IP:127.0.0.1"])
    with tls_before(registry.url, certificate) as schemas, tls_before(clickhouse.url, certificate) as rows:
        yield schemas, rows


@pytest.fixture
def system(
    kafka: KafkaCluster,
    registry: RegistryServer,
    clickhouse: ClickHouseFacade,
    proxies: tuple[TlsProxy, TlsProxy],
    authority: Authority,
) -> Iterator[System]:
    """The tests' own clients go straight; whatever is given ``environment`` has to take TLS."""
    schemas, rows = proxies
    with System(kafka.bootstrap, registry.url, clickhouse.url, partitions="2", ingest_enabled="false") as made:
        made.environment |= {
            "SCHEMA_REGISTRY_URL": f"https://127.0.0.1:{schemas.port}{urlsplit(registry.url).path}",
            "CLICKHOUSE_URL": f"https://127.0.0.1:{rows.port}",
            REGISTRY_CA: str(authority.certificate),
            CLICKHOUSE_CA: str(authority.certificate),
        }
        yield made


def run(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "stockstream", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
        | system.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert SECRET not in done.stdout + done.stderr
    assert SECRET.replace("/", "%2F") not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("in_url", [False, True])
def test_a_worker_and_the_doctor_reach_both(system: System, proxies: tuple[TlsProxy, TlsProxy], in_url: bool) -> None:
    if in_url:
        login = f"//app:{SECRET.replace('/', '%2F')}@"
        system.environment["SCHEMA_REGISTRY_URL"] = system.environment["SCHEMA_REGISTRY_URL"].replace("//", login)
    else:
        system.environment["STOCKSTREAM_SCHEMA_REGISTRY_USERNAME"] = "app"
        system.environment["STOCKSTREAM_SCHEMA_REGISTRY_PASSWORD"] = SECRET
    worker = system.start()
    system.produce([Tick("BINANCE:A", T0_MS + 1, 2.5, 4.0, trade_id=1, source="binance")])
    system.wait_drained(60)
    assert system.sql_candles("1m")["BINANCE:A", "1m", "regular", T0_MS][:5] == (2.5, 2.5, 2.5, 2.5, 4.0)
    assert worker.get("/candles/BINANCE:A")[0] == 200
    found = run(system, "--debug", "doctor")
    assert (found.returncode, found.stdout.count("WRONG")) == (0, 0), found.stdout
    assert SECRET not in worker.log.read_text()
    assert run(system, "settings").returncode == 0
    schemas, rows = proxies
    basic = b"Basic " + base64.b64encode(f"app:{SECRET}".encode())
    assert all(basic in head for head in schemas.heads)
    assert len(schemas.heads) >= 2
    assert len(rows.heads) >= 2


def test_the_archive_is_replayed_over_tls(system: System) -> None:
    system.start()
    system.produce([Tick("BINANCE:A", T0_MS + 1, 2.5, 4.0, trade_id=1, source="binance")])
    system.wait_drained(60)
    told = run(system, "replay", "--from", str(T0_MS), "--to", str(T0_MS + 60_000), "--speed", "max")
    assert told.returncode == 0, told.stderr
    assert "1 of 1 ticks written" in told.stdout


def test_a_certificate_that_nobody_vouches_for_names_the_setting(system: System) -> None:
    del system.environment[REGISTRY_CA], system.environment[CLICKHOUSE_CA]
    found = run(system, "doctor")
    assert found.returncode == 1
    schemas, rows = (line for line in found.stdout.splitlines() if "WRONG" in line)
    for line, name in ((schemas, REGISTRY_CA), (rows, CLICKHOUSE_CA)):
        assert "shows a certificate that is not trusted (unable to get local issuer certificate)" in line
        assert line.endswith(f": set {name} to that of the authority that signed it")
    worker = system.start(wait=False, start_timeout_s="4")
    wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
    assert worker.exit_code == 1
    assert f"set {REGISTRY_CA}" in worker.log_tail().splitlines()[-1]


def test_a_sink_that_is_not_trusted_is_told_and_candles_are_made(system: System) -> None:
    del system.environment[CLICKHOUSE_CA]
    worker = system.start()
    wait_until(lambda: f"set {CLICKHOUSE_CA}" in worker.log.read_text(), 60, "the worker to name the setting")
    (line,) = (line for line in worker.log.read_text().splitlines() if "the sink waits" in line)
    assert "shows a certificate that is not trusted" in line


@pytest.mark.parametrize("name", [REGISTRY_CA, CLICKHOUSE_CA])
def test_a_file_that_is_missing_is_a_wrong_setting(system: System, name: str, tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    system.environment[name] = str(missing)
    worker = system.start(wait=False)
    found = run(system, "doctor")
    assert found.returncode == 1
    (line,) = (line for line in found.stdout.splitlines() if "WRONG" in line)
    assert f"{name} is {missing}, which is no use: " in line
    wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
    assert worker.exit_code == 2
    assert f"stockstream: {name} is {missing}, which is no use: " in worker.log_tail().splitlines()[-1]
