"""Certificates that are not trusted, shown in real handshakes to each client that we have for https://."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
from tls_proxy import tls_before

from stockstream.adapters import registry_of, sink_of
from stockstream.cli.doctor.command import examine
from stockstream.errors import RegistryUnreachable, SinkUnreachable
from stockstream.settings import Settings
from stockstream.testing.certificates import Authority
from stockstream.trust import distrust_of

NOWHERE = "http://127.0.0.1:1"  # behind TLS there need be nothing
UNKNOWN = "shows a certificate that is not trusted (unable to get local issuer certificate): set {ca} to that of the "
UNKNOWN += "authority that signed it"
OTHER_NAME = (
    "shows a certificate of another name (IP address mismatch, certificate is not valid for '127.0.0.1'.): set "
)
OTHER_NAME += "{address} to a name that is in it"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("names", "is_known", "told"),
    [(["IP:127.0.0.1"], False, UNKNOWN), (["DNS:elsewhere.example"], True, OTHER_NAME)],
)
async def test_every_client_says_the_same(
    authority: Authority, names: list[str], is_known: bool, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tls_before(NOWHERE, authority.issue("server", names)) as proxy:
        ca_file = authority.certificate if is_known else None
        settings = Settings(
            kafka_bootstrap_servers="127.0.0.1:1",
            schema_registry_url=f"https://127.0.0.1:{proxy.port}",
            schema_registry_ca_file=ca_file,
            clickhouse_url=f"https://127.0.0.1:{proxy.port}",
            clickhouse_ca_file=ca_file,
        )
        of_registry = told.format(ca="STOCKSTREAM_SCHEMA_REGISTRY_CA_FILE", address="SCHEMA_REGISTRY_URL")
        of_clickhouse = told.format(ca="STOCKSTREAM_CLICKHOUSE_CA_FILE", address="CLICKHOUSE_URL")
        registry = registry_of(settings)
        with pytest.raises(RegistryUnreachable) as schemas:
            await registry.ping()
        await registry.close()
        sink = sink_of(settings)
        with pytest.raises(SinkUnreachable) as rows:
            await sink.connect()
        await sink.close()
        found = {finding.check: finding.told for finding in await examine(settings)}
    assert (
        str(schemas.value) == found["schema registry"] == f"the schema registry at 127.0.0.1:{proxy.port} {of_registry}"
    )
    assert str(rows.value) == found["ClickHouse"] == f"ClickHouse at https://127.0.0.1:{proxy.port} {of_clickhouse}"


def test_other_errors_are_no_matter_of_trust() -> None:
    for error in (OSError("away"), ssl.SSLError(1, "WRONG_VERSION_NUMBER"), httpx.ConnectError("CERTIFICATE")):
        assert distrust_of(error, ca_setting="A", address_setting="B") is None
