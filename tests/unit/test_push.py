from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.push import Hub, Key, Subscription, Update
from stockstream.testing.wait import wait_until_async

PULSE_S = 0.01

# A subscriber that reads (True) or a state of one of few keys that is published (its number).
steps = st.lists(st.one_of(st.just(True), st.integers(0, 5).map(lambda n: (n,))), max_size=60)


def everything(_key: Key) -> bool:
    return True


def take(hub: Hub, subscription: Subscription) -> Update | None:
    """The next update if it is there without waiting; nothing wakes subscribers but this."""
    hub._pulse()
    step = subscription.__anext__()
    try:
        step.send(None)
    except StopIteration as found:
        return found.value
    step.close()
    return None


class Reader:
    """What a client knows that applies updates as it is told to."""

    def __init__(self, hub: Hub, wants: Callable[[Key], bool], present: dict[Key, int]) -> None:
        self.hub, self.wants, self.present = hub, wants, present
        self.known: dict[Key, int] = {}
        self.last_id: str | None = None
        self.numbers: list[int] = []
        self.subscription = hub.subscribe(wants)

    def read(self, events: int | None = None) -> None:
        """Take an update; with ``events`` the connection breaks after so many, and is resumed by the last id."""
        update = take(self.hub, self.subscription)
        if update is None:
            return
        if update.restart:
            self.known = {key: value for key, value in self.present.items() if self.wants(key)}
            self.last_id = self.hub.event_id(update.number)
            self.numbers.append(update.number)
        for event in update.events[:events]:
            self.known[event.key] = event.value
            self.last_id = self.hub.event_id(event.number)
            self.numbers.append(event.number)
        if events is not None:
            self.subscription = self.hub.subscribe(self.wants, self.last_id)


@given(steps, st.integers(1, 8), st.sets(st.integers(0, 5)))
async def test_a_slow_reader_ends_with_the_last_state_of_every_key(
    steps: list[object], capacity: int, wanted: set[int]
) -> None:
    hub, present = Hub(capacity=capacity), dict[Key, int]()
    reader = Reader(hub, lambda key: key[0] in wanted, present)
    for value, step in enumerate(steps):
        if isinstance(step, tuple):
            present[step] = value
            hub.publish(step, value)
        else:
            reader.read()
    reader.read()
    reader.read()  # after a restart there may be more
    assert reader.known == {key: value for key, value in present.items() if key[0] in wanted}
    assert reader.numbers == sorted(reader.numbers)


@given(steps, st.integers(1, 8), st.lists(st.integers(0, 3), min_size=1))
async def test_a_broken_connection_resumes_without_a_hole_wherever_it_broke(
    steps: list[object], capacity: int, breaks: list[int]
) -> None:
    hub, present = Hub(capacity=capacity), dict[Key, int]()
    reader = Reader(hub, everything, present)
    for value, step in enumerate(steps):
        if isinstance(step, tuple):
            present[step] = value
            hub.publish(step, value)
        else:
            reader.read(breaks[value % len(breaks)])
    for _ in range(3):
        reader.read()
    assert reader.known == present


@given(st.lists(st.integers(0, 3).map(lambda n: (n,)), min_size=1))
async def test_what_waits_is_bounded_by_the_keys_and_only_newest_states_are_read(keys: list[Key]) -> None:
    hub = Hub()
    subscription = hub.subscribe(everything, hub.event_id(0))
    for value, key in enumerate(keys):
        hub.publish(key, value)
    update = take(hub, subscription)
    assert update is not None
    assert not update.restart
    newest = {key: value for value, key in enumerate(keys)}
    assert [(event.key, event.value) for event in update.events] == sorted(newest.items(), key=lambda item: item[1])


@pytest.mark.parametrize(
    ("last_id", "resumes"),
    [
        ("{boot}-3", True),
        ("{boot}-0", True),
        ("{boot}-4", False),  # never given out
        ("{boot}-x", False),
        ("{boot}-", False),
        ("{boot}", False),
        ("{boot}-1²", False),
        ("{boot}-" + "9" * 5000, False),
        ("someone-else-3", False),
        ("", False),
        (None, False),
    ],
)
async def test_only_an_id_of_this_process_resumes(last_id: str | None, resumes: bool) -> None:
    hub = Hub()
    boot = hub.event_id(0).rpartition("-")[0]
    for value in range(3):
        hub.publish(("key",), value)
    subscription = hub.subscribe(everything, last_id and last_id.replace("{boot}", boot))
    hub.publish(("other",), 3)
    update = take(hub, subscription)
    assert update is not None
    assert update.restart is not resumes


async def test_ids_differ_between_processes() -> None:
    assert Hub().event_id(1) != Hub().event_id(1)


async def test_a_forgotten_place_restarts_and_then_goes_on() -> None:
    hub = Hub(capacity=2)
    subscription = hub.subscribe(everything, hub.event_id(0))
    for value in range(3):
        hub.publish((value,), value)
    first = take(hub, subscription)
    assert first == Update(3, [], restart=True)
    assert take(hub, subscription) is None
    hub.publish((9,), 9)
    second = take(hub, subscription)
    assert second is not None
    assert [event.value for event in second.events] == [9]


async def test_a_waiting_subscriber_is_woken() -> None:
    hub = Hub(pulse_s=PULSE_S)
    with hub.subscribe(everything, hub.event_id(0)) as subscription:
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        hub.publish(("key",), "state")
        update = await asyncio.wait_for(waiting, 5)
    assert [event.value for event in update.events] == ["state"]


async def test_a_wait_that_was_given_up_loses_nothing() -> None:
    hub = Hub(pulse_s=PULSE_S)
    with hub.subscribe(everything, hub.event_id(0)) as subscription:
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        hub.publish(("key",), "state")
        hub._pulse()
        waiting.cancel()  # woken, but not run yet
        with pytest.raises(asyncio.CancelledError):
            await waiting
        update = await asyncio.wait_for(anext(subscription), 5)
    assert [event.value for event in update.events] == ["state"]


async def test_states_published_between_two_pulses_come_in_one_update() -> None:
    hub = Hub(pulse_s=3600)  # the first pulse comes at once, the second by hand
    updates: list[Update] = []
    with hub.subscribe(everything, hub.event_id(0)) as subscription:

        async def read() -> None:
            async for update in subscription:
                updates.append(update)

        reading = asyncio.create_task(read())
        hub.publish(("first",), 0)
        await wait_until_async(lambda: updates, 5, "the first update")
        for value in range(100):
            hub.publish(("key", value % 2), value)
            await asyncio.sleep(0)  # lets the reader run, were it woken
        assert len(updates) == 1
        hub._pulse()
        await wait_until_async(lambda: len(updates) > 1, 5, "the second update")
        hub.close()
        await asyncio.wait_for(reading, 5)
    assert [[event.value for event in update.events] for update in updates] == [[0], [98, 99]]


async def test_closing_ends_all_that_wait_and_all_that_come() -> None:
    hub = Hub(pulse_s=PULSE_S)
    with hub.subscribe(everything, hub.event_id(0)) as one, hub.subscribe(everything, hub.event_id(0)) as other:
        waiting = [asyncio.create_task(anext(each, None)) for each in (one, other)]
        await asyncio.sleep(0)
        hub.publish(("key",), 1)  # a pulse is due
        hub.close()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None, None]
    assert await anext(hub.subscribe(everything), None) is None
    hub.publish(("key",), 2)


async def test_open_subscriptions_are_counted() -> None:
    hub = Hub()
    with hub.subscribe(everything), hub.subscribe(everything):
        assert len(hub) == 2
    assert len(hub) == 0


async def test_while_nobody_could_resume_nothing_is_held() -> None:
    hub = Hub(capacity=2)
    for value in range(5):
        hub.publish((value,), value)
    assert not hub._events
    subscription = hub.subscribe(everything)
    assert take(hub, subscription) == Update(5, [], restart=True)
    hub.publish(("after",), 5)
    update = take(hub, subscription)
    assert update is not None
    assert [event.value for event in update.events] == [5]
    for value in range(3):
        hub.publish((value,), value)
    assert len(hub._events) == 2  # the subscriber may still come back
    hub.publish((3,), 3)
    assert not hub._events
    assert take(hub, subscription) == Update(10, [], restart=True)


async def test_publishing_without_subscribers_leaves_nothing_scheduled() -> None:
    hub = Hub()
    hub.publish(("key",), 1)
    assert hub._timer is None
