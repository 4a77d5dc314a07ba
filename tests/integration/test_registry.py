"""The registry and the codecs on a real registry."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from stockstream.codecs import Decoder, Encoder, Registry, TickDecoder
from stockstream.errors import BadMessage, RegistryUnreachable, SchemaRefused
from stockstream.models import CANDLE_SCHEMA, TICK_SCHEMA_V1, TICK_SCHEMA_V2, Candle, Tick

TICK = Tick("AAPL", 1_700_000_000_000, 189.37, 10.0, trade_id=5, producer_timestamp=1_700_000_000_100, source="x")


@pytest.fixture
async def ours(registry: Any) -> AsyncIterator[Registry]:
    client = Registry(registry.url)
    yield client
    await client.close()


@pytest.fixture
def subject() -> str:
    return f"test-{uuid.uuid4().hex}-value"


async def set_mode(url: str, subject: str, mode: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.put(f"{url}/config/{subject}", json={"compatibility": mode})
        answer.raise_for_status()


async def test_a_schema_keeps_its_id(ours: Registry, registry: Any, subject: str) -> None:
    await ours.ping()
    assert await ours.check(subject, TICK_SCHEMA_V2) is False
    schema_id = await ours.ensure(subject, TICK_SCHEMA_V2)
    assert await ours.schema(schema_id) == TICK_SCHEMA_V2
    another = Registry(registry.url)
    assert await another.check(subject, TICK_SCHEMA_V2) is True
    assert await another.ensure(subject, TICK_SCHEMA_V2) == schema_id
    assert await another.schema(schema_id) == TICK_SCHEMA_V2
    await another.close()


async def test_version_2_follows_version_1_where_new_readers_read_old_ticks(
    ours: Registry, registry: Any, subject: str
) -> None:
    first = await ours.ensure(subject, TICK_SCHEMA_V1)
    assert await ours.compatibility(subject) == "BACKWARD"
    assert await ours.ensure(subject, TICK_SCHEMA_V2) != first


@pytest.mark.parametrize("mode", ["FORWARD", "FULL", "FULL_TRANSITIVE"])
async def test_version_2_is_never_forced_on_readers_of_version_1(
    ours: Registry, registry: Any, subject: str, mode: str
) -> None:
    first = await ours.ensure(subject, TICK_SCHEMA_V1)
    await set_mode(registry.url, subject, mode)
    with pytest.raises(SchemaRefused) as refused:
        await ours.ensure(subject, TICK_SCHEMA_V2)
    text = str(refused.value)
    assert f"{subject} (compatibility {mode})" in text
    assert "price" in text
    assert "tick_schema=1" in text
    assert await ours.ensure(subject, TICK_SCHEMA_V1) == first


async def test_a_foreign_schema_in_the_way_is_named(ours: Registry, registry: Any, subject: str) -> None:
    foreign = {**CANDLE_SCHEMA, "fields": [{"name": "symbol", "type": "long"}]}
    await ours.ensure(subject, foreign)
    await set_mode(registry.url, subject, "BACKWARD")
    with pytest.raises(SchemaRefused, match="symbol"):
        await ours.ensure(subject, CANDLE_SCHEMA)


@pytest.mark.parametrize("schema_id", [2**31 - 1, 2**32 - 1])
async def test_an_id_nobody_registered_is_the_records_fault(ours: Registry, schema_id: int) -> None:
    with pytest.raises(BadMessage):
        await ours.schema(schema_id)


async def test_records_of_both_versions_are_read_by_a_reader_that_knows_neither(
    ours: Registry, registry: Any, subject: str
) -> None:
    old = Encoder(TICK_SCHEMA_V1, await ours.ensure(subject, TICK_SCHEMA_V1))(TICK)
    await set_mode(registry.url, subject, "BACKWARD")
    new = Encoder(TICK_SCHEMA_V2, await ours.ensure(subject, TICK_SCHEMA_V2))(TICK)
    reader = Registry(registry.url)
    decoder = TickDecoder(reader)
    await decoder.prepare([old, new])
    assert decoder.decode(b"AAPL", new) == TICK
    assert decoder.decode(b"AAPL", old).price == TICK.price
    await reader.close()


async def test_candles_are_read(ours: Registry, subject: str) -> None:
    candle = Candle("AAPL", "1m", "regular", 0, 60_000, 1.0, 2.0, 0.5, 1.5, 3.0, 1.2, 3, True, 9, 0, 60_000)
    value = Encoder(CANDLE_SCHEMA, await ours.ensure(subject, CANDLE_SCHEMA))(candle)
    decoder = Decoder(ours, Candle, CANDLE_SCHEMA)
    await decoder.prepare([value])
    assert decoder.decode(value) == candle


async def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client = Registry(f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(RegistryUnreachable, match="does not answer"):
            await client.ensure("any-value", TICK_SCHEMA_V2)
        await client.close()
