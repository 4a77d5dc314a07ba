"""Messages come out as they were sent, however the bytes are cut, and whoever takes the frames apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from stockstream.sources.stream import FrameStream

TIMEOUT_S = 5.0


class Transport(asyncio.Transport):
    """Keeps what is written; tells whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Scene:
    """A stream and the server at its other end, with the bytes carried between them by hand."""

    def __init__(self) -> None:
        self.transport, self.server = Transport(), ServerProtocol()
        self.stream = FrameStream(ClientProtocol(parse_uri("ws://venue/")), ping_interval=None)
        self.stream.connection_made(self.transport)

    async def shake_hands(self, after: bytes = b"", cut: int | None = None) -> None:
        shaking = asyncio.create_task(self.stream.handshake())
        await asyncio.sleep(0)
        request = self.said()[0]
        self.server.send_response(self.server.accept(request))
        response = b"".join(self.server.data_to_send()) + after
        for part in [response] if cut is None else [response[:cut], response[cut:]]:
            self.stream.data_received(part)
        await asyncio.wait_for(shaking, TIMEOUT_S)

    def said(self) -> list[Any]:
        """What the client wrote since the last time, as the server understands it."""
        self.server.receive_data(self.transport.written)
        self.transport.written = b""
        return self.server.events_received()

    async def messages(self, count: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            found += await asyncio.wait_for(self.stream.receive(), TIMEOUT_S)
        return found


def framed(*messages: tuple[Opcode, bytes, bool]) -> bytes:
    return b"".join(Frame(opcode, data, fin).serialize(mask=False) for opcode, data, fin in messages)


def text(data: bytes) -> tuple[Opcode, bytes, bool]:
    return (Opcode.TEXT, data, True)


sizes = st.sampled_from([0, 1, 5, 125, 126, 127, 300, 65_535, 65_536])
whole = st.builds(lambda size, byte, kind: [(kind, bytes([byte]) * size, True)], sizes, st.integers(0, 255),
                  st.sampled_from([Opcode.TEXT, Opcode.BINARY]))  # fmt: skip
split = st.builds(
    lambda first, second: [(Opcode.TEXT, first, False), (Opcode.PING, b"p", True), (Opcode.CONT, second, True)],
    st.binary(max_size=200), st.binary(max_size=200),
)  # fmt: skip
pings = st.just([(Opcode.PING, b"x", True)])


@given(
    plain=st.lists(whole | pings, max_size=12),
    rest=st.lists(split | whole | pings, max_size=4),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20),
    head_cut=st.none() | st.integers(1, 120),
    with_head=st.booleans(),
)
def test_every_message_comes_out_whole_and_in_order_and_pings_are_answered(
    plain: list[Any], rest: list[Any], cuts: list[int], head_cut: int | None, with_head: bool
) -> None:
    frames = [frame for group in [*plain, *rest] for frame in group]
    wire = framed(*frames)
    expected, pieces = [], b""
    for opcode, data, fin in frames:
        if opcode is not Opcode.PING:
            pieces += data
            if fin:
                expected.append(pieces)
                pieces = b""

    async def run() -> None:
        scene, at = Scene(), 0
        if with_head:
            at = cuts[0]
        await scene.shake_hands(wire[:at], head_cut)
        number, found = 0, []
        while at < len(wire):
            size = cuts[number % len(cuts)] * (1 if len(wire) < 5000 else 500)
            scene.stream.data_received(wire[at : at + size])
            at, number = at + size, number + 1
            if number % 3 == 0 and len(found) < len(expected) and scene.stream._arrived:
                found += await scene.messages(1)
        found += await scene.messages(len(expected) - len(found))
        assert found == expected
        pongs = [event for event in scene.said() if event.opcode is Opcode.PONG]
        assert len(pongs) == sum(opcode is Opcode.PING for opcode, _, _ in frames)

    asyncio.run(run())


@pytest.mark.parametrize("is_closed_first", [True, False])
async def test_what_arrived_before_the_end_is_taken_and_then_the_end_is_told(is_closed_first: bool) -> None:
    scene = Scene()
    await scene.shake_hands()
    close = framed((Opcode.CLOSE, b"\x03\xe9", True))
    scene.stream.data_received(framed(text(b"a"), text(b"b")) + (close if is_closed_first else b"\x81\x05cut"))
    scene.stream.connection_lost(None)
    assert await scene.messages(2) == [b"a", b"b"]
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(scene.stream.receive(), TIMEOUT_S)
    assert (closed.value.rcvd is not None and closed.value.rcvd.code == 1001) is is_closed_first


async def test_messages_may_be_taken_as_they_arrive_but_none_past_those_that_wait() -> None:
    scene, taken = Scene(), list[bytes]()
    await scene.shake_hands()
    takes = False

    def take(messages: list[bytes]) -> bool:
        if takes:
            taken.extend(messages)
        return takes

    scene.stream.take = take
    scene.stream.data_received(framed(text(b"a")))
    takes = True
    scene.stream.data_received(framed(text(b"b")))
    assert await scene.messages(2) == [b"a", b"b"]
    scene.stream.data_received(framed(text(b"c"), text(b"d"))[:-1])
    scene.stream.data_received(b"d")
    assert taken == [b"c", b"d"]


async def test_somebody_who_waits_is_told_of_the_end() -> None:
    scene = Scene()
    await scene.shake_hands()
    receiving = asyncio.create_task(scene.stream.receive())
    await asyncio.sleep(0)
    scene.stream.connection_lost(ConnectionResetError())
    with pytest.raises(ConnectionClosedError):
        await asyncio.wait_for(receiving, TIMEOUT_S)


@pytest.mark.parametrize("wire", [b"\xc1\x01a", b"\x81\x81maska", b"\x83\x00", b"\x80\x00", b"\x81\x7f" + b"\xff" * 8])
async def test_what_breaks_the_protocol_fails_the_connection_after_what_came_before(wire: bytes) -> None:
    scene = Scene()
    await scene.shake_hands()
    scene.stream.data_received(framed(text(b"a")) + wire)
    assert await scene.messages(1) == [b"a"]
    assert [event.opcode for event in scene.said()] == [Opcode.CLOSE]


async def test_a_pong_of_the_other_end_answers_our_ping() -> None:
    scene = Scene()
    await scene.shake_hands()
    pong = await scene.stream.ping()
    (ping,) = scene.said()
    scene.stream.data_received(framed(text(b"a"), (Opcode.PONG, bytes(ping.data), True)))
    await asyncio.wait_for(pong, TIMEOUT_S)
    assert await scene.messages(1) == [b"a"]


async def test_reading_pauses_while_nobody_takes_what_has_arrived() -> None:
    scene = Scene()
    await scene.shake_hands()
    while not scene.transport.is_paused:
        scene.stream.data_received(framed(*[text(b"a")] * 100))
    assert 1000 < len(await scene.messages(1)) < 1200
    assert not scene.transport.is_paused
