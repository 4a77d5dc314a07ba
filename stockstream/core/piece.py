"""The ticks of one symbol and minute, and what they come to, before any row is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from stockstream.core.interval import Key
from stockstream.core.partial import Partial
from stockstream.models import Tick

Stamped = tuple[int, Tick]
"""A tick and its place in the log (`stockstream.core.row.stamp`)."""


class Minute(NamedTuple):
    """A 1m window of a symbol's key, and the label of the trading date that it counts for; None for none."""

    key: Key
    start_ms: int
    day_ms: int | None


_CLOCK_NAME_LENGTH = 60  # of which each is at most 4 of the 255 bytes that a row has for it


@lru_cache(1000)
def clock_name(source: str, exchange: str) -> str:
    """The name of the clock that a venue's ticks move and their candles close by; short enough for a row to hold."""
    return f"{source}/{exchange}"[:_CLOCK_NAME_LENGTH]


def clock_of(tick: Tick) -> tuple[str, int]:
    """The clock that a tick moves, and how far, epoch ms: never beyond its reception."""
    return clock_name(tick.source, tick.exchange), min(tick.event_time, tick.received_ms)


@dataclass(slots=True)
class Summary:
    """What a piece of columns amounts to, without a look at its ticks.

    ``ids`` are their trade ids as ranges (first, last, first, last, …), ascending with the log, or none; where they do
    not ascend a piece has no summary.
    """

    first: int
    last: int
    whole: Partial
    ids: list[int]


@dataclass(slots=True)
class Piece:
    """The accepted trades and snapshots of one symbol and minute.

    ``ticks()`` are (stamp, tick) in log order. ``clocks`` are the clocks that they move, the first tick's first, each
    with how far, epoch ms. ``summary``: None where they must be looked at one by one.
    """

    ticks: Callable[[], list[Stamped]]
    clocks: list[tuple[str, int]]
    summary: Summary | None = None


def piece_of(ticks: list[Stamped]) -> Piece:
    """A piece of ticks that are to be looked at one by one."""
    clocks: dict[str, int] = {}
    for _, tick in ticks:
        name, reached = clock_of(tick)
        clocks[name] = max(reached, clocks.get(name, reached))
    return Piece(lambda: ticks, list(clocks.items()))
