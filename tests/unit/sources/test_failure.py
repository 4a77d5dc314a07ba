from __future__ import annotations

import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from stockstream.sources.contract import NotAdmitted
from stockstream.sources.failure import asked_wait_s, cause_of, fatal_reason
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
        (NotAdmitted("key refused"), "key refused"),
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
    assert fatal_reason(feed, NotAdmitted("key refused", fatal="get a key")) == "get a key"
    assert fatal_reason(feed, NotAdmitted("no answer")) is None


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (InvalidStatus(Response(429, "", Headers({"Retry-After": "17"}))), 17.0),
        (InvalidStatus(Response(503, "", Headers({"Retry-After": "3"}))), 3.0),
        (InvalidStatus(Response(429, "", Headers())), 10.0),
        (InvalidStatus(Response(429, "", Headers({"Retry-After": "Fri, 27 Nov 2026 07:28:00 GMT"}))), 10.0),
        (InvalidStatus(Response(429, "", Headers({"Retry-After": "9" * 30}))), 259_200.0),
        (InvalidStatus(Response(503, "", Headers())), 0.0),
        (ConnectionRefusedError(), 0.0),
    ],
)
def test_a_venue_may_ask_to_be_left_alone(error: Exception, wait_s: float) -> None:
    assert asked_wait_s(error) == wait_s
