"""Which reasons why no broker is to be had will not pass by themselves."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from stockstream.broker.connection import Connection
from stockstream.broker.refusal import refused, unreachable
from stockstream.errors import BrokerRefused, BrokerUnreachable, Unreachable

OURS = Connection("one:9093", "SASL_SSL", "SCRAM-SHA-256", "app", "hidden")


def closed(cause: Exception) -> KafkaConnectionError:
    """As aiokafka tells that a connection was closed, and why."""
    error = KafkaConnectionError("Connection at one:9093 closed")
    error.__cause__ = cause
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def untrusted(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (SaslAuthenticationFailed("no"), r"refuses user app or the password \(no\): set KAFKA_SASL_USERNAME"),
        (UnsupportedSaslMechanismError(), "does not know SCRAM-SHA-256: set KAFKA_SASL_MECHANISM"),
        (IllegalSaslStateError(), "takes no logins: set KAFKA_SECURITY_PROTOCOL"),
        (untrusted(20, "no issuer"), r"is not trusted \(no issuer\): set KAFKA_SSL_CA_FILE"),
        (untrusted(62, "Hostname mismatch"), r"of another name \(Hostname mismatch\): set KAFKA_BOOTSTRAP_SERVERS"),
        (tls_error("WRONG_VERSION_NUMBER"), "speaks no TLS"),
        (closed(tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")), "set KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE"),
        (closed(tls_error("TLSV1_ALERT_UNKNOWN_CA")), "set KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE"),
        (closed(asyncio.IncompleteReadError(b"\0\2\2", 0x15030300)), "speaks TLS only: set KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_what_will_not_pass_names_the_setting(reason: Exception, told: str) -> None:
    error = refused(OURS, ["a line", OSError("away"), reason])
    assert isinstance(error, BrokerRefused)
    assert not isinstance(error, Unreachable)  # which would be waited for
    assert error.exit_code == 2
    with pytest.raises(BrokerRefused, match=f"^Kafka at one:9093 .*{told}"):
        raise error
    assert "hidden" not in str(error)


@pytest.mark.parametrize(
    "reason",
    [
        "a line",
        OSError("away"),
        ConnectionRefusedError(),
        TimeoutError(),
        tls_error("UNEXPECTED_EOF_WHILE_READING"),
        closed(asyncio.IncompleteReadError(b"", 4)),
    ],
)
def test_what_may_pass_is_waited_for(reason: Exception | str) -> None:
    assert refused(OURS, [reason]) is None
    assert isinstance(unreachable(OURS, reason), BrokerUnreachable)


@pytest.mark.parametrize("reason", [ConnectionResetError(), closed(asyncio.IncompleteReadError(b"", 4))])
def test_a_connection_that_was_closed_may_be_of_the_wrong_kind(reason: Exception) -> None:
    assert "perhaps it does not expect KAFKA_SECURITY_PROTOCOL=SASL_SSL" in str(unreachable(OURS, reason))
