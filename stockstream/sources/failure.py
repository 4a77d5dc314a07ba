"""Why a connection ended or was not made, and whether trying again soon can help."""

from __future__ import annotations

import socket
import ssl

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from stockstream.sources.contract import Feed, NotAdmitted
from stockstream.sources.limits import retry_after_s

_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "refused"),
    (TimeoutError, "no answer"),
    (socket.gaierror, "unknown host"),
    (ssl.SSLError, "no TLS"),
    (ConnectionError, "aborted"),
    (InvalidHandshake, "no WebSocket"),
    (OSError, "unreachable"),
)
_TOO_MANY_REQUESTS, _TOO_MANY_S = 429, 10.0


def cause_of(error: Exception) -> str:
    """The cause as ``gap`` records give it: ``closed 1001``, ``aborted``, ``refused``, ``no answer`` and so on."""
    if isinstance(error, ConnectionClosed):
        return "aborted" if error.rcvd is None else f"closed {error.rcvd.code}"
    if isinstance(error, InvalidStatus):
        return f"refused with HTTP {error.response.status_code}"
    if isinstance(error, NotAdmitted):
        return error.cause
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    return type(error).__name__


def fatal_reason(feed: Feed, error: Exception) -> str | None:
    """What a human has to mend before it is of use to try again, whatever the venue or by what the venue says."""
    if isinstance(error, InvalidURI):
        return f"{feed.url} is no WebSocket address"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {feed.url} is not trusted: {error.verify_message}"
    if isinstance(error, NotAdmitted) and error.fatal is not None:
        return error.fatal
    return feed.fatal(error)


def asked_wait_s(error: Exception) -> float:
    """How long the venue wants to be left alone, by its ``Retry-After`` or because it has had too many requests."""
    if not isinstance(error, InvalidStatus):
        return 0.0
    asked_s = retry_after_s(error.response.headers.get("Retry-After"))
    if asked_s is not None:
        return asked_s
    return _TOO_MANY_S if error.response.status_code == _TOO_MANY_REQUESTS else 0.0
