"""What aiokafka's clients are given."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from stockstream.broker.connection import Connection


def test_plaintext_needs_nothing_but_addresses() -> None:
    assert Connection("one:9092,two:9092").aiokafka() == {
        "bootstrap_servers": "one:9092,two:9092",
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_names_the_user_as_aiokafka_does() -> None:
    connection = Connection("one:9092", "SASL_PLAINTEXT", "SCRAM-SHA-256", "app", "hidden")
    assert connection.aiokafka() == {
        "bootstrap_servers": "one:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "app",
        "sasl_plain_password": "hidden",
    }


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_verifies_the_broker(protocol: str) -> None:
    context = Connection("one:9093", protocol).aiokafka()["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_missing_ca_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Connection("one:9093", "SSL", ssl_ca_file=str(tmp_path / "no.pem")).aiokafka()


def test_the_password_is_not_shown() -> None:
    assert "hidden" not in repr(Connection("one:9092", "SASL_SSL", "PLAIN", "app", "hidden"))
