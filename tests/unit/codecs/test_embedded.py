from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stockstream.codecs import Registry
from stockstream.codecs.embedded import EmbeddedRegistry
from stockstream.errors import BadMessage, RegistryUnreachable, SchemaRefused
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA


@pytest_asyncio.fixture
async def embedded() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as made:
        yield made


@pytest_asyncio.fixture
async def registry(embedded: EmbeddedRegistry) -> AsyncIterator[Registry]:
    client = Registry(embedded.url)
    yield client
    await client.close()


async def test_a_schema_gets_one_id_whatever_its_subjects(registry: Registry) -> None:
    first = await registry.ensure("a-value", CANDLE_SCHEMA)
    assert await registry.ensure("a-value", CANDLE_SCHEMA) == first
    assert await registry.ensure("b-value", CANDLE_SCHEMA) == first
    other = await registry.ensure("c-value", LATEST_SCHEMA)
    assert other != first
    assert await registry.schema(first) == CANDLE_SCHEMA
    assert await registry.schema(other) == LATEST_SCHEMA


async def test_asking_registers_nothing(registry: Registry) -> None:
    await registry.ping()
    assert await registry.check("a-value", CANDLE_SCHEMA) is False
    assert await registry.check("a-value", CANDLE_SCHEMA) is False
    await registry.ensure("a-value", CANDLE_SCHEMA)
    assert await registry.check("a-value", CANDLE_SCHEMA) is True
    assert await registry.compatibility("a-value") == "FULL"


async def test_a_subject_has_one_schema_for_good(registry: Registry) -> None:
    await registry.ensure("a-value", CANDLE_SCHEMA)
    with pytest.raises(SchemaRefused, match="subject a-value"):
        await registry.ensure("a-value", LATEST_SCHEMA)
    assert await registry.check("a-value", CANDLE_SCHEMA) is True


async def test_an_unknown_id_is_no_schema(registry: Registry) -> None:
    with pytest.raises(BadMessage, match="9"):
        await registry.schema(9)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/schemas/ids/0", None),
        ("GET", "/schemas/ids/x", None),
        ("GET", "/subjects/a-value/versions", None),
        ("GET", "/subjects/a-value/versions/latest", None),
        ("POST", "/subjects/a-value", {"schema": '"string"'}),
    ],
)
async def test_what_is_not_there_is_told_in_confluents_words(
    embedded: EmbeddedRegistry, method: str, path: str, body: Any
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, embedded.url + path, json=body)
    assert answer.status_code == 404
    assert answer.json()["error_code"] in (40401, 40403)
    assert answer.json()["message"]


async def test_it_is_gone_afterwards() -> None:
    async with EmbeddedRegistry() as made:
        client = Registry(made.url)
    with pytest.raises(RegistryUnreachable):
        await client.ping()
    await client.close()
