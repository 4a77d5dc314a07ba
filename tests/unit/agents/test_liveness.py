"""What workers say of their connections, without Kafka."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stockstream.agents.liveness import Alive, Liveness
from stockstream.core.allocation import ConnectionId
from stockstream.errors import BadMessage

CONNECTION = ConnectionId("yahoo", 2)


def worker(name: str, topic: list[tuple[bytes, bytes | None]]) -> Liveness:
    async def send(key: bytes, value: bytes | None) -> None:
        topic.append((key, value))

    return Liveness({}, "connections", worker=name, send=send, now_ms=lambda: 0)


def read(liveness: Liveness, topic: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in topic:
        record: Any = SimpleNamespace(key=key, value=value)
        liveness._take(record)


async def test_everyone_knows_who_had_a_connection_last_and_until_when() -> None:
    topic: list[tuple[bytes, bytes | None]] = []
    first, second = worker("first", topic), worker("second", topic)
    await first.tell(CONNECTION, 1000)
    await second.tell(CONNECTION, 2000)
    for each in (first, second):
        read(each, topic)
        assert each.of(CONNECTION) == Alive("second", 2000)
    assert first.taken_over(CONNECTION)
    assert not second.taken_over(CONNECTION)


async def test_a_connection_that_is_forgotten_was_nobodys() -> None:
    topic: list[tuple[bytes, bytes | None]] = []
    first = worker("first", topic)
    await first.tell(CONNECTION, 1000)
    await first.forget(CONNECTION)
    second = worker("second", topic)
    read(second, topic)
    assert second.of(CONNECTION) is None
    assert not second.taken_over(CONNECTION)


WRONG = [b'{"worker":"w","until_ms":1e400}', b'{"worker":"w","until_ms":-1}', b'{"worker":1,"until_ms":1}', b"[" * 3000]


@pytest.mark.parametrize("value", [b"no JSON", b"[]", b"{}", b'{"worker":"w","until_ms":"soon"}', *WRONG])
def test_what_is_no_record_of_a_connection_is_refused(value: bytes) -> None:
    with pytest.raises(BadMessage):
        read(worker("first", []), [(b"yahoo/2", value)])
