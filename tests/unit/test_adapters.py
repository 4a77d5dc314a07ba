"""What settings become, for workers and commands alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from stockstream.adapters import connection_of, registry_of, tick_schema_of
from stockstream.errors import SettingsError
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2
from stockstream.settings import Settings


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_a_wrong_setting(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"KAFKA_SSL_CA_FILE is .*ca\.pem") as caught:
        connection_of(Settings(kafka_security_protocol="SSL", kafka_ssl_ca_file=file))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


async def test_the_registry_and_kafka_are_known_by_names_without_secrets() -> None:
    settings = Settings(
        schema_registry_url="http://registry:8081",
        schema_registry_username="app",
        schema_registry_password=SecretStr("hidden"),
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="app",
        kafka_sasl_password=SecretStr("hidden"),
    )
    registry = registry_of(settings)
    assert registry.name == "registry:8081"
    assert connection_of(settings).sasl_password == "hidden"  # noqa: S105 - made up here
    assert "hidden" not in f"{registry!r}{connection_of(settings)!r}"
    await registry.close()


def test_the_schema_is_the_version_that_is_set() -> None:
    assert (tick_schema_of(Settings(tick_schema=1)), tick_schema_of(Settings())) == (TICK_SCHEMA_V1, TICK_SCHEMA_V2)
