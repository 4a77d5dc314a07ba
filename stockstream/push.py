"""Bounded fan-out of states to live clients, within one event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

Key = tuple[Any, ...]
"""What a state belongs to; a newer state of the same key supersedes the older one."""

PULSE_S = 0.15
CAPACITY = 10_000


@dataclass(slots=True)
class Event:
    """One state, numbered in the order of publication; ``encoded`` is left there by who encodes it first."""

    number: int
    key: Key
    value: Any
    encoded: bytes | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """What is new to a subscriber up to ``number``: the newest state of each key, in the order of publication.

    After a ``restart`` the subscriber must take the present state of everything instead: what was published between
    its last update and this one is not held any more.
    """

    number: int
    events: list[Event]
    restart: bool = False


class Hub:
    """A log of the newest states that any number of subscribers read, each at its own pace.

    The log holds one state a key, and ``capacity`` keys; a subscriber is only a place in it. So a slow one costs
    nothing, and loses states that were superseded, never the last one of a key. Subscribers are woken together, at
    most once in ``pulse_s``.
    """

    def __init__(self, *, capacity: int = CAPACITY, pulse_s: float = PULSE_S) -> None:
        self.closed = False
        self.number = 0
        self._boot = uuid4().hex[:12]
        self._capacity = capacity
        self._pulse_s = pulse_s
        self._events: OrderedDict[Key, Event] = OrderedDict()
        self._forgotten = 0  # the greatest number that is not in the log any more
        self._told = -1  # the greatest number that anybody knows
        self._announced = 0  # the greatest number that subscribers were woken for
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pulse_due_s = 0.0
        self._subscribers = 0

    def __len__(self) -> int:
        """How many subscriptions are open."""
        return self._subscribers

    def event_id(self, number: int) -> str:
        """A number as clients know it, ``<boot>-<number>``: no other process gives the same."""
        self._told = max(self._told, number)
        return f"{self._boot}-{number}"

    def publish(self, key: Key, value: Any) -> None:
        """Put in the newest state of a key."""
        self.number += 1
        if not self._subscribers and self._told < self._forgotten:
            self._events.clear()
            self._forgotten = self.number
            return
        self._events[key] = Event(self.number, key, value)
        self._events.move_to_end(key)
        if len(self._events) > self._capacity:
            self._forgotten = self._events.popitem(last=False)[1].number
        if self._subscribers and self._timer is None and not self.closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._pulse_due_s), self._pulse)

    def subscribe(self, wants: Callable[[Key], bool], last_id: str | None = None) -> Subscription:
        """Begin to read the keys that ``wants`` accepts, after ``last_id`` if all since then is still held.

        Otherwise the first update is a restart.
        """
        return Subscription(self, wants, self._place(last_id))

    def close(self) -> None:
        """End every subscription, those that are yet to come too."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._changed.set()

    def _place(self, last_id: str | None) -> int | None:
        boot, _, digits = (last_id or "").rpartition("-")
        if boot != self._boot or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            return None
        return int(digits) if int(digits) <= self.number else None

    def _pulse(self) -> None:
        self._timer = None
        self._pulse_due_s = asyncio.get_running_loop().time() + self._pulse_s
        self._announced = self.number
        self._changed.set()
        self._changed.clear()

    def _take(self, place: int | None, wants: Callable[[Key], bool]) -> Update:
        self._told = self.number
        if place is None or place < self._forgotten:
            return Update(self.number, [], restart=True)
        fresh = []
        for event in reversed(self._events.values()):
            if event.number <= place:
                break
            if wants(event.key):
                fresh.append(event)
        fresh.reverse()
        return Update(self.number, fresh)


class Subscription:
    """One subscriber's place in a hub: an async iterator of updates that ends when the hub closes.

    It counts as open within its ``with`` block. The first update comes at once if it is a restart or if there is
    anything to resume with. Waiting for an update may be cancelled and begun anew without losing any.
    """

    def __init__(self, hub: Hub, wants: Callable[[Key], bool], place: int | None) -> None:
        self._hub = hub
        self._wants = wants
        self._place = place
        self._is_first = True

    def __enter__(self) -> Self:
        self._hub._subscribers += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub._subscribers -= 1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        hub = self._hub
        while not hub.closed:
            if self._is_first or self._place is None or hub._announced > self._place:
                self._is_first = False
                update = hub._take(self._place, self._wants)
                self._place = update.number
                if update.restart or update.events:
                    return update
            else:
                await hub._changed.wait()
        raise StopAsyncIteration
