"""Brokers that are there and yet cannot be worked with, told apart from those that are away.

Who is away may come back and is waited for. A wrong password or a certificate that nobody vouches for stays what it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator

from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from stockstream.broker.connection import Connection
from stockstream.errors import BrokerRefused, BrokerUnreachable
from stockstream.trust import causes_of, distrust_of

_TLS_ALERT = 0x1503  # how one begins: its type, and what all versions of TLS have for the greater half of theirs
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}


def refused(connection: Connection, reasons: Iterable[Exception | str]) -> BrokerRefused | None:
    """What to tell a user if one of these ``reasons`` why no broker is to be had will not pass; None if all may."""
    for reason in reasons:
        for cause in _causes(reason):
            told = _told(connection, cause)
            if told is not None:
                return BrokerRefused(f"Kafka at {connection.bootstrap_servers} {told}")
    return None


def unreachable(connection: Connection, reason: Exception | str) -> BrokerUnreachable:
    """What to tell a user whose brokers do not answer."""
    detail = str(reason) or type(reason).__name__
    if any(isinstance(cause, ConnectionResetError | asyncio.IncompleteReadError) for cause in _causes(reason)):
        detail += f"; perhaps it does not expect KAFKA_SECURITY_PROTOCOL={connection.security_protocol}"
    return BrokerUnreachable(
        f"no Kafka broker answers at {connection.bootstrap_servers} ({detail}): start it, or set "
        "KAFKA_BOOTSTRAP_SERVERS (and the KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_… and KAFKA_SSL_… settings if it is "
        "secured)"
    )


def _causes(reason: Exception | str) -> Iterator[BaseException]:
    return causes_of(None if isinstance(reason, str) else reason)


def _told(connection: Connection, cause: BaseException) -> str | None:
    match cause:
        case SaslAuthenticationFailed():
            return (
                f"refuses user {connection.sasl_username} or the password ({' '.join(map(str, cause.args))}): set "
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        case UnsupportedSaslMechanismError():
            return f"does not know {connection.sasl_mechanism}: set KAFKA_SASL_MECHANISM to one that it knows"
        case IllegalSaslStateError():
            return "takes no logins: set KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SSL, or the port to one that does"
        case ssl.SSLCertVerificationError():
            return distrust_of(cause, ca_setting="KAFKA_SSL_CA_FILE", address_setting="KAFKA_BOOTSTRAP_SERVERS")
        case ssl.SSLError(reason=reason) if reason in _NO_TLS:
            return f"speaks no TLS ({reason}): set KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SASL_PLAINTEXT"
        case ssl.SSLError(reason=str(reason)) if "ALERT" in reason and ("CERT" in reason or "UNKNOWN_CA" in reason):
            return (
                f"takes no client without a certificate that it trusts ({reason}): set KAFKA_SSL_CERT_FILE and "
                "KAFKA_SSL_KEY_FILE"
            )
        case asyncio.IncompleteReadError(expected=int(size)) if size >> 16 == _TLS_ALERT:
            return "speaks TLS only: set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
    return None
