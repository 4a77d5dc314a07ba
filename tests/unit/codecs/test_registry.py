from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from stockstream.codecs import Registry
from stockstream.errors import BadMessage, RegistryUnreachable, SchemaRefused
from stockstream.models import CANDLE_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2


class FakeServer:
    """The wire of a registry that holds one subject; ``compatible`` is its answer to every compatibility test."""

    def __init__(self, held: dict[str, Any] | None = None, mode: str = "BACKWARD", compatible: bool = True) -> None:
        self.held = held
        self.mode = mode
        self.compatible = compatible
        self.messages: list[str] = []
        self.registered: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        missing = httpx.Response(404, json={"error_code": 40401, "message": "not found"})
        match (request.method, request.url.path.strip("/").split("/")):
            case ("POST", ["subjects", _]):
                asked = json.loads(json.loads(request.content)["schema"])
                return httpx.Response(200, json={"id": 7, "version": 1}) if asked == self.held else missing
            case ("GET", ["subjects", _, "versions"]):
                return httpx.Response(200, json=[1]) if self.held else missing
            case ("GET", ["subjects", subject, "versions", "latest"]):
                answer = {"id": 7, "version": 1, "subject": subject, "schema": json.dumps(self.held)}
                return httpx.Response(200, json=answer)
            case ("POST", ["compatibility", *_]):
                answer = {"is_compatible": self.compatible, "messages": self.messages}
                return httpx.Response(200, json=answer)
            case ("POST", ["subjects", _, "versions"]):
                if not self.compatible:
                    return httpx.Response(409, json={"error_code": 409, "message": "no\nway"})
                self.registered.append(json.loads(json.loads(request.content)["schema"]))
                return httpx.Response(200, json={"id": 8})
            case ("GET", ["config"]):
                return httpx.Response(200, json={"compatibilityLevel": self.mode})
            case ("GET", ["schemas", "ids", "7"]):
                return httpx.Response(200, json={"schema": json.dumps(self.held)})
        return missing


def registry(handler: Any, **options: Any) -> Registry:
    return Registry("http://registry.test", transport=httpx.MockTransport(handler), **options)


async def test_a_schema_that_is_there_is_found_and_not_registered_again() -> None:
    server = FakeServer(held=TICK_SCHEMA_V2)
    assert await registry(server).ensure("yfinance-value", TICK_SCHEMA_V2) == 7
    assert server.registered == []


async def test_a_new_subject_gets_the_schema() -> None:
    server = FakeServer()
    assert await registry(server).check("yfinance-value", TICK_SCHEMA_V2) is False
    assert await registry(server).ensure("yfinance-value", TICK_SCHEMA_V2) == 8
    assert server.registered == [TICK_SCHEMA_V2]


async def test_a_mode_that_would_break_version_1_readers_is_refused_with_a_way_out() -> None:
    server = FakeServer(held=TICK_SCHEMA_V1, mode="FULL", compatible=False)
    with pytest.raises(SchemaRefused) as refused:
        await registry(server).ensure("yfinance-value", TICK_SCHEMA_V2)
    text = str(refused.value)
    assert "yfinance-value (compatibility FULL)" in text
    assert "price is float there and double here" in text
    assert "tick_schema=1" in text
    assert "\n" not in text
    assert server.registered == []


async def test_the_registrys_own_reasons_are_told_in_one_line() -> None:
    server = FakeServer(held=TICK_SCHEMA_V1, compatible=False)
    server.messages = ["first\n  reason", "x" * 1000]
    with pytest.raises(SchemaRefused, match=r"first reason; x+ …; use another topic_prefix") as refused:
        await registry(server).check("candles-value", CANDLE_SCHEMA)
    assert len(str(refused.value)) < 700


async def test_a_refusal_at_registration_is_a_refusal() -> None:
    class Changing(FakeServer):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = super().__call__(request)
            if request.url.path.startswith("/compatibility"):
                self.compatible = False
            return answer

    with pytest.raises(SchemaRefused, match="no way"):
        await registry(Changing(held=TICK_SCHEMA_V1)).ensure("yfinance-value", TICK_SCHEMA_V2)


async def test_a_subject_without_a_mode_has_the_registrys() -> None:
    assert await registry(FakeServer(mode="FULL_TRANSITIVE")).compatibility("new-value") == "FULL_TRANSITIVE"


async def test_schemas_by_id_are_fetched_once() -> None:
    server = FakeServer(held=TICK_SCHEMA_V1)
    ours = registry(server)
    assert await ours.schema(7) == TICK_SCHEMA_V1
    assert await ours.schema(7) == TICK_SCHEMA_V1
    assert len(server.requests) == 1


@pytest.mark.parametrize("schema_id", [8, 2**31 - 1, 2**31, 2**32 - 1])
async def test_an_unknown_id_is_the_messages_fault(schema_id: int) -> None:
    with pytest.raises(BadMessage, match=str(schema_id)):
        await registry(FakeServer()).schema(schema_id)


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": '{"type": "nothing"}'},
    ],
)
async def test_an_id_of_another_format_is_the_messages_fault(answer: dict[str, str]) -> None:
    with pytest.raises(BadMessage, match="no Avro schema"):
        await registry(lambda _: httpx.Response(200, json=answer)).schema(3)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (refuse, "does not answer (connection refused)"),
        (lambda _: httpx.Response(503, json={"message": "busy"}), "answers 503: busy"),
        (lambda _: httpx.Response(429, json={}), "answers 429"),
        (lambda _: httpx.Response(401, json={}), "refuses the credentials"),
        (lambda _: httpx.Response(502, text="<html>"), "does not speak JSON"),
        (lambda _: httpx.Response(404, json={}), "no schema registry"),
    ],
)
async def test_a_registry_that_is_away_is_unreachable_in_one_clear_line(handler: Any, said: str) -> None:
    with pytest.raises(RegistryUnreachable) as away:
        await registry(handler).ping()
    assert said in str(away.value)
    assert "registry.test" in str(away.value)
    assert "\n" not in str(away.value)


async def test_credentials_are_sent_and_never_shown() -> None:
    server = FakeServer()
    await registry(server, **{"username": "me", "password": "hidden"}).ping()
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    ours = Registry("http://me:hidden@registry.test", transport=httpx.MockTransport(refuse))
    with pytest.raises(RegistryUnreachable) as away:
        await ours.ping()
    assert "hidden" not in str(away.value)


async def test_no_credentials_means_no_authorization_header() -> None:
    server = FakeServer()
    await registry(server).ping()
    assert "authorization" not in server.requests[0].headers


async def test_close_closes_the_connections() -> None:
    ours = registry(FakeServer())
    await ours.close()
    with pytest.raises(RuntimeError):
        await ours.ping()


async def test_a_login_in_the_address_is_used_and_not_part_of_it() -> None:
    server = FakeServer()
    client = Registry("http://app:hid%2Fden@registry.test/base", transport=httpx.MockTransport(server))
    await client.check("yfinance-value", TICK_SCHEMA_V2)
    assert client.name == "registry.test"
    for request in server.requests:
        assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"app:hid/den").decode()
        assert str(request.url).startswith("http://registry.test/base/")  # what httpx would log
