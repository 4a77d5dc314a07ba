"""Holes that only trade ids show, where a venue counts its trades one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Emit, Offer

_LEEWAY_MS = 10_000  # how late a trade may arrive, and how long what was asked for may take to begin
_MOST_MISSING = 1000  # ids of one hole that are remembered, should they come after all


@dataclass(slots=True)
class _Seen:
    """The greatest id and its time; the hole that was told since; what the last jump left out."""

    trade_id: int
    event_ms: int
    told: Tick | None = None
    jumped: Tick | None = None
    missing: set[int] = field(default_factory=set)


class Producer(Protocol):
    """What takes a source's ticks."""

    async def send(self, ticks: Sequence[Tick]) -> None:
        """As `Emit`."""

    def offer(self, ticks: Sequence[Tick]) -> bool:
        """As `Offer`."""
        ...


def watching_ids(capabilities: Capabilities, producer: Producer, now_ms: Callable[[], int]) -> tuple[Emit, Offer]:
    """What a connection gives its ticks to: the producer, or an `IdWatch` of its own before it."""
    if not capabilities.sequential_ids:
        return producer.send, producer.offer
    watch = IdWatch(producer.send, producer.offer, now_ms)
    return watch.emit, watch.offer


class IdWatch:
    """Stands between one connection and what takes its ticks, and adds what the trade ids tell.

    A jump from one trade to the next is a hole between their times: a ``gap``. After a reconnect, which has told its
    hole already, ids that go on where they had stopped show that nothing was missed, a ``repair``; a jump there adds
    to the hole as it was told. Ids that were left out and come after all are a ``repair`` too.
    """

    def __init__(self, emit: Emit, offer: Offer, now_ms: Callable[[], int]) -> None:
        self._emit, self._offer, self._now_ms = emit, offer, now_ms
        self._seen: dict[str, _Seen] = {}

    async def emit(self, ticks: Sequence[Tick]) -> None:
        """Pass ticks on, with what their ids tell."""
        await self._emit(self.told(ticks))

    def offer(self, ticks: Sequence[Tick]) -> bool:
        """As `Offer`."""
        return self._offer(()) and (not ticks or self._offer(self.told(ticks)))

    def told(self, ticks: Sequence[Tick]) -> list[Tick]:
        """The ticks, and control records where their ids demand it."""
        found: list[Tick] = []
        for tick in ticks:
            if tick.kind == "trade" and tick.trade_id >= 0:
                self._take(tick, found)
            else:
                if tick.kind == "start":
                    self._seen.pop(tick.symbol, None)  # what came before was not wanted
                elif tick.kind == "gap" and (seen := self._seen.get(tick.symbol)) is not None:
                    seen.told = tick if seen.told is None else _joined(seen.told, tick)
                found.append(tick)
        return found

    def _take(self, tick: Tick, found: list[Tick]) -> None:
        """Add a trade, and before it the hole that it shows, or behind it that there is none any more."""
        seen, number = self._seen.get(tick.symbol), tick.trade_id
        if seen is None:
            self._seen[tick.symbol] = _Seen(number, tick.event_time)
            found.append(tick)
            return
        if number > seen.trade_id + 1:
            seen.jumped = self._jump(seen, tick)
            seen.missing = set(range(seen.trade_id + 1, min(number, seen.trade_id + 2 + _MOST_MISSING)))
            seen.told = None
            found.append(seen.jumped)
        found.append(tick)
        if number == seen.trade_id + 1 and seen.told is not None:
            found.append(self._settled(seen.told, "the trade ids go on: nothing was missed"))
            seen.told = None
        if number < seen.trade_id and seen.jumped is not None and number in seen.missing:
            seen.missing.remove(number)
            if not seen.missing:
                found.append(self._settled(seen.jumped, "the missing trades came after all"))
        if number > seen.trade_id:
            seen.trade_id, seen.event_ms = number, tick.event_time

    def _jump(self, seen: _Seen, tick: Tick) -> Tick:
        cause = f"ids {seen.trade_id + 1}–{tick.trade_id - 1} missing"
        first_ms, last_ms = seen.event_ms, max(seen.event_ms, tick.event_time)
        if (told := seen.told) is not None:
            told_until_ms = told.until or told.event_time
            first_ms = min(told.event_time, max(first_ms, told.event_time - _LEEWAY_MS))
            last_ms = max(told_until_ms, min(last_ms, told_until_ms + _LEEWAY_MS))
            cause = f"{told.cause}, {cause}"
        return Tick(
            tick.symbol, first_ms, kind="gap", producer_timestamp=self._now_ms(), source=tick.source,
            until=last_ms, cause=cause,
        )  # fmt: skip

    def _settled(self, gap: Tick, cause: str) -> Tick:
        return replace(gap, kind="repair", producer_timestamp=self._now_ms(), cause=cause)


def _joined(told: Tick, gap: Tick) -> Tick:
    return replace(
        gap,
        event_time=min(told.event_time, gap.event_time),
        until=max(told.until or 0, gap.until or 0),
        cause=f"{told.cause}, {gap.cause}",
    )
