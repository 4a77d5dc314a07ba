from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from stockstream.agents.dead_letters import DeadLetters
from stockstream.errors import BrokerUnreachable
from stockstream.models import Verdict
from stockstream.models.verdict import LETTERED

LETTER = (b"AAPL", b"\x00bytes", "ticks", 3, 42, "late", "it happened long ago")


class Broker:
    """Takes what a producer sends; ``answer`` settles each record's future."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.futures: list[asyncio.Future[None]] = []

    async def send(self, *record: Any) -> asyncio.Future[None]:
        self.sent.append(record)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future


class App:
    """What of a Faust app is used: its producer, and how it is ended."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.consumer = SimpleNamespace(poisoned=False)
        self.loop = asyncio.get_running_loop()
        self.crashed: list[BaseException] = []

    async def maybe_start_producer(self) -> Broker:
        return self.broker

    async def crash(self, error: BaseException) -> None:
        self.crashed.append(error)


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def app(broker: Broker) -> App:
    return App(broker)


def test_every_verdict_but_two_is_a_loss_to_be_kept() -> None:
    assert set(Verdict) - LETTERED == {Verdict.ACCEPTED, Verdict.DUPLICATE}


async def test_a_letter_holds_the_bytes_as_they_came_and_says_from_where(app: App, broker: Broker) -> None:
    letters = DeadLetters(app, "dead-letters")
    await letters.send(*LETTER)
    ((topic, key, value, partition, timestamp, headers),) = broker.sent
    assert (topic, key, value, partition, timestamp) == ("dead-letters", b"AAPL", b"\x00bytes", None, None)
    assert headers == {
        "topic": b"ticks",
        "partition": b"3",
        "offset": b"42",
        "reason": b"late",
        "error": b"it happened long ago",
    }
    assert letters.counts == {"late": 1}
    broker.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert not app.consumer.poisoned


async def test_a_record_without_key_or_value_is_kept_too(app: App, broker: Broker) -> None:
    await DeadLetters(app, "dead-letters").send(None, None, "ticks", 0, 0, "no key", "é")
    assert broker.sent[0][1:3] == (None, None)
    assert broker.sent[0][5]["error"] == "é".encode()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nothing_is_committed_past_a_letter_that_was_lost(app: App, broker: Broker, cancelled: bool) -> None:
    await DeadLetters(app, "dead-letters").send(*LETTER)
    if cancelled:
        broker.futures[0].cancel()
    else:
        broker.futures[0].set_exception(MessageSizeTooLargeError())
    for _ in range(3):
        await asyncio.sleep(0)
    assert app.consumer.poisoned
    assert len(app.crashed) == 1


async def test_delivery_waits_for_the_broker(app: App, broker: Broker) -> None:
    delivery = asyncio.ensure_future(DeadLetters(app, "dead-letters").deliver(*LETTER))
    await asyncio.sleep(0)
    assert not delivery.done()
    broker.futures[0].set_result(None)
    await delivery
    assert not app.consumer.poisoned


async def test_a_delivery_that_fails_can_be_tried_again(app: App, broker: Broker) -> None:
    letters = DeadLetters(app, "dead-letters")
    delivery = asyncio.ensure_future(letters.deliver(*LETTER))
    await asyncio.sleep(0)
    broker.futures[0].set_exception(KafkaConnectionError("gone"))
    with pytest.raises(BrokerUnreachable, match=r"dead-letters does not take records for now: .*gone"):
        await delivery
    assert not app.consumer.poisoned
    delivery = asyncio.ensure_future(letters.deliver(*LETTER))
    await asyncio.sleep(0)
    broker.futures[1].set_result(None)
    await delivery
    assert letters.counts == {"late": 1}
