from __future__ import annotations

import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from stockstream.sources.failure import cause_of, fatal_reason
from stockstream.sources.yahoo.feed import YahooFeed


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionClosedError(Close(1001, ""), None), "closed 1001"),
        (ConnectionClosedError(None, None), "aborted"),
        (InvalidStatus(Response(503, "", Headers())), "refused with HTTP 503"),
        (ConnectionRefusedError(), "refused"),
        (TimeoutError(), "no answer"),
        (socket.gaierror(), "unknown host"),
        (ssl.SSLError(), "no TLS"),
        (ConnectionResetError(), "aborted"),
        (InvalidHandshake(), "no WebSocket"),
        (OSError(), "unreachable"),
        (ValueError(), "ValueError"),
    ],
)
def test_every_end_has_a_short_name(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_what_only_a_human_can_mend_is_fatal() -> None:
    feed = YahooFeed("http://nowhere")
    untrusted = ssl.SSLCertVerificationError()
    untrusted.verify_message = "self-signed certificate"
    assert fatal_reason(feed, InvalidURI("http://nowhere", "x")) == "http://nowhere is no WebSocket address"
    assert "self-signed" in (fatal_reason(feed, untrusted) or "")
    assert "403" in (fatal_reason(feed, InvalidStatus(Response(403, "", Headers()))) or "")
    assert fatal_reason(feed, ConnectionRefusedError()) is None
