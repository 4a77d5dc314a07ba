"""Requests as Kafka reads them, answers as it writes them, however they are cut."""

from __future__ import annotations

import asyncio
import io
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import UnsupportedVersionError
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from hypothesis import given
from hypothesis import strategies as st

from stockstream.broker import link
from stockstream.broker.link import Link


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.protocol: Any = None
        self.is_aborted = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Connection:
    """What aiokafka would have connected."""

    def __init__(self, versions: tuple[int, int] = (3, 12)) -> None:
        self.transport = Transport()
        self._versions = {0: versions}
        self._writer = SimpleNamespace(transport=self.transport)
        self._read_task = SimpleNamespace(cancel=lambda: None)
        self._protocol = SimpleNamespace(connection_lost=lambda error: self.ended.append(error))
        self.ended: list[Exception | None] = []
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Scene:
    def __init__(self, acks: Any = "all") -> None:
        self.connection = Connection()
        self.answers: list[list[tuple[int, int]]] = []
        self.lost: list[list[int]] = []
        self.link = Link(
            "ticks",
            5000,
            acks=acks,
            on_answer=self.answers.append,
            on_lost=lambda _, partitions: self.lost.append(partitions),
        )

    async def open(self, monkeypatch: pytest.MonkeyPatch) -> Link:
        async def create_conn(host: str, port: int, **options: Any) -> Connection:
            assert (host, port, options) == ("broker", 9092, {"request_timeout_ms": 5000})
            return self.connection

        monkeypatch.setattr(link, "create_conn", create_conn)
        await self.link.open("broker", 9092, {"request_timeout_ms": 5000})
        assert self.connection.transport.protocol is self.link
        return self.link


def answer(number: int, entries: list[tuple[int, int]]) -> bytes:
    body = ProduceResponse_v7([("ticks", [(partition, code, 7, -1, 0) for partition, code in entries])], 0).encode()
    framed = number.to_bytes(4, "big") + body
    return len(framed).to_bytes(4, "big") + framed


async def test_a_request_is_what_kafka_takes_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    opened = await scene.open(monkeypatch)
    opened.send([(3, b"three"), (11, b"")])
    (data,) = scene.connection.transport.written
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    header = io.BytesIO(data[4:])
    assert [int.from_bytes(header.read(size), "big") for size in (2, 2, 4)] == [0, 7, 1]
    client = header.read(int.from_bytes(header.read(2), "big"))
    assert client == b"stockstream"
    request = ProduceRequest_v7.decode(header)
    assert (request.transactional_id, request.required_acks, request.timeout) == (None, -1, 5000)
    assert request.topics == [("ticks", [(3, b"three"), (11, b"")])]
    assert header.read() == b""


@given(
    entries=st.lists(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0, 6, 46, -1])), max_size=5), max_size=5),
    cuts=st.lists(st.integers(1, 90), min_size=1),
)
def test_answers_are_read_however_they_are_cut(entries: list[list[tuple[int, int]]], cuts: list[int]) -> None:
    async def run() -> None:
        scene = Scene()
        with pytest.MonkeyPatch.context() as monkeypatch:
            opened = await scene.open(monkeypatch)
        wire = b""
        for number, some in enumerate(entries, start=1):
            opened.send([(partition, b"batch") for partition, _ in some])
            wire += answer(number, some)
        at = number = 0
        assert (opened.oldest_s is None) == (not entries)
        while at < len(wire):
            opened.data_received(wire[at : at + cuts[number % len(cuts)]])
            at, number = at + cuts[number % len(cuts)], number + 1
        assert scene.answers == entries
        assert opened.oldest_s is None

    asyncio.run(run())


async def test_an_answer_to_something_else_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    opened = await scene.open(monkeypatch)
    opened.send([(1, b"batch")])
    opened.data_received(answer(2, [(1, 0)]))
    assert scene.answers == []
    assert scene.connection.transport.is_aborted
    assert not opened.is_open


async def test_what_was_under_way_is_told_when_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    opened = await scene.open(monkeypatch)
    opened.send([(1, b"a"), (2, b"b")])
    opened.send([(3, b"c")])
    error = ConnectionResetError()
    opened.connection_lost(error)
    assert scene.lost == [[1, 2, 3]]
    assert scene.connection.ended == [error]
    assert scene.connection.is_closed


async def test_a_broker_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.connection = Connection((0, 5))
    with pytest.raises(UnsupportedVersionError):
        await scene.open(monkeypatch)
    assert scene.connection.is_closed


@pytest.mark.parametrize(("acks", "asked"), [("all", -1), ("1", 1), ("0", 0)])
async def test_a_request_asks_for_as_many_acks(monkeypatch: pytest.MonkeyPatch, acks: str, asked: int) -> None:
    scene = Scene(acks)
    (await scene.open(monkeypatch)).send([(3, b"three")])
    (data,) = scene.connection.transport.written
    request = ProduceRequest_v7.decode(io.BytesIO(data[4 + 8 + 2 + len("stockstream") :]))
    assert request.required_acks == asked


async def test_without_acks_a_batch_counts_as_written_when_the_socket_takes_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene("0")
    opened = await scene.open(monkeypatch)
    opened.send([(3, b"three"), (4, b"four")])
    assert (scene.answers, opened.oldest_s) == ([], None)
    await asyncio.sleep(0)
    assert scene.answers == [[(3, 0), (4, 0)]]
    opened.pause_writing()
    opened.send([(3, b"three")])
    opened.send([(4, b"four")])
    await asyncio.sleep(0)
    assert len(scene.answers) == 1
    opened.resume_writing()
    assert scene.answers[1:] == [[(3, 0), (4, 0)]]
    opened.pause_writing()
    opened.send([(5, b"five")])
    opened.connection_lost(None)
    assert scene.lost == [[5]]
