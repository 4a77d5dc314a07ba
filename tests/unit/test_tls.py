"""Certificates that settings name: used where they are good, and told by the setting's name where they are not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stockstream.adapters import clickhouse_ca_of, connection_of, registry_of
from stockstream.errors import SettingsError
from stockstream.settings import Settings
from stockstream.testing.certificates import Authority, Issued


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Issued:
    return authority.issue("client")


def tls(authority: Authority, **more: Any) -> Settings:
    return Settings(kafka_security_protocol="SSL", kafka_ssl_ca_file=authority.certificate, **more)


@pytest.fixture(scope="module")
def encrypted(client: Issued) -> Path:
    """The client's key, with a password."""
    made = client.key.with_name("encrypted.key")
    arguments = ["-topk8", "-in", str(client.key), "-out", str(made), "-passout", "pass:hidden"]
    subprocess.run(["openssl", "pkcs8", *arguments], check=True)  # noqa: S607 - wherever it is
    return made


def test_a_client_may_show_a_certificate(authority: Authority, client: Issued, encrypted: Path) -> None:
    for given in (
        {"kafka_ssl_cert_file": client.both},
        {"kafka_ssl_cert_file": client.certificate, "kafka_ssl_key_file": client.key},
        {
            "kafka_ssl_cert_file": client.certificate,
            "kafka_ssl_key_file": encrypted,
            "kafka_ssl_key_password": SecretStr("hidden"),
        },
    ):
        connection = connection_of(tls(authority, **given))
        assert len(connection.aiokafka()["ssl_context"].get_ca_certs()) == 1
        assert "hidden" not in repr(connection)


def test_a_certificate_that_cannot_be_used_is_a_wrong_setting(
    authority: Authority, client: Issued, encrypted: Path, tmp_path: Path
) -> None:
    other = authority.issue("other")
    for certificate, key, password in (
        (tmp_path / "none.pem", client.key, None),
        (client.certificate, None, None),
        (client.certificate, other.key, None),
        (client.certificate, encrypted, None),  # and nobody is asked for it at the terminal
        (client.certificate, encrypted, SecretStr("wrong")),
    ):
        settings = tls(
            authority, kafka_ssl_cert_file=certificate, kafka_ssl_key_file=key, kafka_ssl_key_password=password
        )
        with pytest.raises(SettingsError, match=r"^KAFKA_SSL_CERT_FILE is .*no use.*KAFKA_SSL_KEY_PASSWORD"):
            connection_of(settings)


async def test_authorities_of_the_other_servers_are_checked_at_once(authority: Authority, tmp_path: Path) -> None:
    good = Settings(
        schema_registry_url="https://schemas.test",
        schema_registry_ca_file=authority.certificate,
        clickhouse_url="https://rows.test",
        clickhouse_ca_file=authority.certificate,
    )
    await registry_of(good).close()
    assert clickhouse_ca_of(good) == str(authority.certificate)
    assert clickhouse_ca_of(Settings()) is None
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    bad = good.model_copy(update={"schema_registry_ca_file": file, "clickhouse_ca_file": file})
    with pytest.raises(SettingsError, match="STOCKSTREAM_SCHEMA_REGISTRY_CA_FILE is "):
        registry_of(bad)
    with pytest.raises(SettingsError, match="STOCKSTREAM_CLICKHOUSE_CA_FILE is "):
        clickhouse_ca_of(bad)
