"""The ledger of gaps: every hole that the tick topics tell of, as every worker sees it.

Whoever makes candles of a partition copies its ``gap`` and ``repair`` records into one small topic, with their places
in the log, before the batch that they stand in is committed; so after any crash the copies are complete, and copies
made twice say the same. All workers follow that topic.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import ConsumerRecord

from stockstream.broker.follower import QUIET_FETCH_WAIT_MS, TopicFollower
from stockstream.core.holes import cut
from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.models.gap import Gap

KEPT_MS = 30 * 86_400_000
"""How long the ledger's topic, and so the ledger, knows of a hole."""

_GREATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
_GREATEST_LONG = 2**63 - 1
_IDS = re.compile(r"ids \d+–\d+ missing")

Send = Callable[[bytes, bytes | None], Awaitable[None]]


def encode_control(place: int, tick: Tick) -> tuple[bytes, bytes]:
    """The ledger's record, as (key, value), of a ``gap`` or ``repair`` record that stands at ``place`` (a stamp)."""
    told = {
        "kind": tick.kind,
        "source": tick.source,
        "from_ms": tick.event_time,
        "until_ms": tick.event_time if tick.until is None else tick.until,
        "cause": tick.cause or "unknown",
        "place": place,
        "told_ms": tick.received_ms,
    }
    return tick.symbol.encode(), json.dumps(told).encode()


def totals(gaps: Iterable[Gap]) -> dict[tuple[str, str], tuple[int, int]]:
    """Number and length (ms) of holes by state and cause; which ids are missing does not tell causes apart."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for gap in gaps:
        at = gap.state, _IDS.sub("ids missing", gap.cause)
        count, length_ms = found.get(at, (0, 0))
        found[at] = count + 1, length_ms + gap.until_ms - gap.from_ms
    return found


@dataclass(slots=True)
class _Held:
    """A hole, the bounds of what is left of it, and why the last attempt to repair it failed."""

    gap: Gap
    left: list[int]
    failure: str | None = None


@dataclass(slots=True)
class _Symbol:
    """What is known of one symbol: holes by (from, until), and repairs by place."""

    holes: dict[tuple[int, int], _Held] = field(default_factory=dict)
    repairs: dict[int, Gap] = field(default_factory=dict)


class GapLedger:
    """All holes of the last 30 days, in memory."""

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        *,
        send: Send,
        hopeless: Callable[[Gap], str | None],
        now_ms: Callable[[], int],
    ) -> None:
        """``hopeless`` says why a hole can never be repaired, None if it can; ``send`` writes to ``topic``."""
        self.follower = TopicFollower(
            connection, {topic: KEPT_MS / 1000}, take=self._take, now_ms=now_ms, fetch_wait_ms=QUIET_FETCH_WAIT_MS
        )
        self._send = send
        self._hopeless = hopeless
        self._now_ms = now_ms
        self._symbols: defaultdict[str, _Symbol] = defaultdict(_Symbol)
        self._wounded: set[str] = set()

    def gaps(self, symbol: str | None = None) -> list[Gap]:
        """The holes of one symbol, or of all, by their beginning and symbol; repaired ones too."""
        known = self._symbols if symbol is None else {symbol: self._symbols[symbol]} if symbol in self._symbols else {}
        found = [self._state(held) for each in known.values() for held in each.holes.values()]
        return sorted(found, key=lambda gap: (gap.from_ms, gap.symbol))

    def open(self) -> list[Gap]:
        """The holes that are still to be repaired."""
        found: list[Gap] = []
        for symbol in list(self._wounded):
            left = [held for held in self._symbols[symbol].holes.values() if held.left]
            if not left:
                self._wounded.discard(symbol)
            found += [gap for gap in map(self._state, left) if gap.state == "open"]
        return found

    async def failed(self, gap: Gap, reason: str) -> None:
        """Tell all workers why a hole could not be repaired for now; raises `BrokerUnreachable`."""
        told = {"kind": "failure", "from_ms": gap.from_ms, "until_ms": gap.until_ms, "cause": reason}
        await self._send(gap.symbol.encode(), json.dumps(told).encode())

    def _state(self, held: _Held) -> Gap:
        if not held.left:
            return held.gap
        reason = self._hopeless(held.gap)
        if reason is not None:
            return replace(held.gap, state="unrepairable", reason=reason)
        return replace(held.gap, state="open", reason=held.failure)

    def _take(self, record: ConsumerRecord) -> None:
        try:
            symbol, told = record.key.decode(), json.loads(record.value)
            kind, from_ms, until_ms, cause = told["kind"], told["from_ms"], told["until_ms"], told["cause"]
            is_failure = kind == "failure"
            source, place, told_ms = ("", 0, 0) if is_failure else (told["source"], told["place"], told["told_ms"])
            if not all(isinstance(text, str) for text in (cause, source)):
                raise ValueError("cause and source are texts")
            if not all(
                type(number) is int and 0 <= number <= most
                for number, most in (
                    (from_ms, _GREATEST_MS),
                    (until_ms, _GREATEST_MS),
                    (told_ms, _GREATEST_MS),
                    (place, _GREATEST_LONG),
                )
            ):
                raise ValueError("times are epoch ms up to the year 9999, a place is a stamp")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise BadMessage(f"not a record of the ledger: {error!r}") from error
        known = self._symbols[symbol]
        if is_failure:
            held = known.holes.get((from_ms, until_ms))
            if held is not None:
                held.failure = cause
            return
        gap = Gap(symbol, source, from_ms, until_ms, cause, place, told_ms)
        if kind == "repair":
            self._take_repair(known, gap)
        elif kind == "gap":
            self._take_gap(known, gap)
            self._wounded.add(symbol)
        self._forget_old(known)

    def _take_gap(self, known: _Symbol, gap: Gap) -> None:
        if any(_covers(held.gap, gap) and held.gap.place >= gap.place for held in known.holes.values()):
            return  # told before, or part of what was told later
        for inner in [at for at, held in known.holes.items() if held.left and _covers(gap, held.gap)]:
            del known.holes[inner]
        held = known.holes[gap.from_ms, gap.until_ms] = _Held(gap, [gap.from_ms, gap.until_ms])
        for repair in known.repairs.values():
            _repair(held, repair)

    def _take_repair(self, known: _Symbol, repair: Gap) -> None:
        known.repairs[repair.place] = repair
        for held in known.holes.values():
            _repair(held, repair)

    def _forget_old(self, known: _Symbol) -> None:
        edge_ms = self._now_ms() - KEPT_MS
        for at in [at for at, held in known.holes.items() if held.gap.told_ms < edge_ms]:
            del known.holes[at]
        for place in [place for place, repair in known.repairs.items() if repair.told_ms < edge_ms]:
            del known.repairs[place]


def _covers(outer: Gap, inner: Gap) -> bool:
    return outer.from_ms <= inner.from_ms and inner.until_ms <= outer.until_ms


def _repair(held: _Held, repair: Gap) -> None:
    if held.left and repair.place > held.gap.place:
        held.left = cut(held.left, repair.from_ms, repair.until_ms)
        if not held.left:
            held.gap = replace(held.gap, state="repaired", reason=repair.cause, repaired_ms=repair.told_ms)
