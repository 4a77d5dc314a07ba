"""Candles by the rules, worked out the slow way: sort everything, add up fractions. Shares no code with the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import cache, lru_cache

from stockstream.calendars import Calendar, Session
from stockstream.calendars.definition import BREAK, PUT_THROUGH
from stockstream.models import Candle, Tick

MINUTE, DAY = 60_000, 86_400_000
CLOSED_BIT = 1 << 55
LENGTHS = {"1m": MINUTE, "5m": 5 * MINUTE, "1d": DAY}
CandleKey = tuple[str, str, str, int]
"""(symbol, interval, session, window start ms)."""
Window = tuple[str, int]
"""(session, window start ms)."""


class Venue:
    """Where ticks count: days of UTC, all of it one session."""

    def place(self, tick: Tick) -> tuple[str, int | None]:
        """Session, and the label of the trading date."""
        return "regular", tick.event_time // DAY * DAY

    def date_after(self, session: str, at: int) -> int:
        """The date whose session is the first to end after a time."""
        return at // DAY * DAY

    def bounds(self, session: str, day: int) -> tuple[int, int, int]:
        """From when to when the session of a date is, and when its last prints have come."""
        return day, day + DAY, day + DAY

    def date_of(self, session: str, minute: int) -> tuple[int, int] | None:
        """From when to when the session is of the date that a minute is in."""
        return minute // DAY * DAY, minute // DAY * DAY + DAY


class Exchange(Venue):
    """Where ticks of an exchange count, by the sessions of its calendar, looked through one by one."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._found = lru_cache(self._sessions)

    def _around(self, at: int) -> list[Session]:
        return self._found(at // DAY)

    def _sessions(self, days: int) -> list[Session]:
        today = date(1970, 1, 1) + timedelta(days)
        return self._calendar.sessions(today - timedelta(2), today + timedelta(15))

    def place(self, tick: Tick) -> tuple[str, int | None]:
        at = tick.event_time
        for found in self._around(at):
            if found.start_ms <= at < found.end_ms:
                aside = any(
                    part.kind in (BREAK, PUT_THROUGH) and part.start_ms <= at < part.end_ms for part in found.parts
                )
                last_prints = at // MINUTE * MINUTE + MINUTE == found.regular_end_ms and at >= found.close_ms
                if last_prints:
                    aside = self._calendar.definition.extended is not None and tick.market_hours != 1
                regular = found.open_ms <= at < found.regular_end_ms and not aside
                return "regular" if regular else "extended", _label(found)
        return "extended", None

    def date_after(self, session: str, at: int) -> int:
        return next(_label(found) for found in self._around(at) if _ends(found, session) > at)

    def bounds(self, session: str, day: int) -> tuple[int, int, int]:
        found = next(found for found in self._around(day) if _label(found) == day)
        if session == "regular":
            return found.open_ms, found.close_ms, found.regular_end_ms
        return found.start_ms, found.end_ms, found.end_ms

    def date_of(self, session: str, minute: int) -> tuple[int, int] | None:
        for found in self._around(minute):
            if found.start_ms <= minute < found.end_ms:
                bounds = self.bounds(session, _label(found))
                return bounds[0], bounds[2]
        return None


def _label(found: Session) -> int:
    return (found.day - date(1970, 1, 1)).days * DAY


def _ends(found: Session, session: str) -> int:
    return found.regular_end_ms if session == "regular" else found.end_ms


UTC_DAYS = Venue()


@cache
def venue_of(calendar: Calendar) -> Venue:
    """The venue of a calendar."""
    return Exchange(calendar)


@dataclass(frozen=True)
class Reference:
    """What a candle must be; ``offset`` is the greatest place in the log that it depends on."""

    open: float
    high: float
    low: float
    close: float
    volume: Decimal | None
    vwap: Fraction | None
    trades: int | None
    partial: bool
    gap: bool
    corrected: bool
    offset: int


Log = list[tuple[int, Tick]]


def reference_candles(
    log: Iterable[tuple[int, Tick]], venue_of: Callable[[str], Venue] = lambda symbol: UTC_DAYS
) -> dict[CandleKey, Reference]:
    """The candles of (offset, tick) pairs that were all accepted, of one topic, nothing evicted."""
    by_symbol: dict[str, Log] = {}
    for entry in log:
        by_symbol.setdefault(entry[1].symbol, []).append(entry)
    candles: dict[CandleKey, Reference] = {}
    for symbol, entries in by_symbol.items():
        venue = venue_of(symbol)
        for interval, length in LENGTHS.items():
            windows: dict[Window, Log] = {}
            for offset, tick in entries:
                if tick.kind in ("trade", "snapshot"):
                    session, day = venue.place(tick)
                    start = day if interval == "1d" else tick.event_time // length * length
                    if start is not None:
                        windows.setdefault((session, start), []).append((offset, tick))
            controls = [(offset, tick) for offset, tick in entries if tick.kind in ("start", "gap", "repair")]
            for session, start in sorted(windows):
                window = session, start
                candles[symbol, interval, session, start] = _candle(venue, interval, window, windows, controls)
    return candles


def _candle(venue: Venue, interval: str, window: Window, windows: dict[Window, Log], controls: Log) -> Reference:
    session, label = window
    if interval == "1d":
        start, _, end = venue.bounds(session, label)
        opened, is_stray = start, False
    else:
        start, end = label, label + LENGTHS[interval]
        date_bounds = venue.date_of(session, start)
        is_stray = date_bounds is None
        opened, _ = date_bounds or (start, end)
    entries = _unique(windows[window])
    ordered = sorted((_edge(offset, tick) for offset, tick in entries))
    prices = [tick.price for _, tick in entries]
    trades = [tick for _, tick in entries if tick.kind == "trade"]
    starts = [tick.event_time for _, tick in controls if tick.kind == "start"]
    holes = [(tick.event_time, tick.until or tick.event_time) for _, tick in controls if tick.kind == "gap"]
    offsets = [offset for offset, _ in windows[window]]
    offsets += [offset for offset, tick in controls if _concerns(venue, tick, interval, window, start, opened)]
    inside = [at for at in starts if start < at < end]
    partial = bool(inside) and min(inside) <= max(ordered[0][0], ordered[0][2])
    unrepaired = [piece for at, tick in controls if tick.kind == "gap" for piece in _unrepaired(at, tick, controls)]
    gap = any(first < end and (last > start or first >= start) for first, last in unrepaired)
    corrected = False
    volume: Decimal | None = None
    vwap: Fraction | None = None
    points = _points(windows[window])
    if trades:
        sizes = [Decimal(tick.last_size).quantize(Decimal("1e-8"), ROUND_HALF_EVEN) for tick in trades]
        volume = sum(sizes, Decimal(0))
        turnover = sum(
            (Fraction(tick.price) * Fraction(size) for tick, size in zip(trades, sizes, strict=True)), Fraction(0)
        )
        vwap = turnover / Fraction(volume) if volume else None
    elif points:
        order = {"regular": 0, "extended": 1}
        earlier = [
            (at, order[of], of)
            for of, at in windows
            if interval != "1d"
            and order[of] <= order[session]
            and opened <= at
            and (at, order[of]) < (start, order[session])
            and _points(windows[of, at])
        ]
        first, last = min(points)[:2], max(points)[:2]
        peak = max(cumulative for _, cumulative, _ in points)
        if earlier:
            at, _, of = max(earlier)
            before = _points(windows[of, at])
            since, baseline = max(before)[:2]
            offsets.append(min(offset for at, cumulative, offset in before if (at, cumulative) == (since, baseline)))
            gap = gap or any(begun < end and until > since for begun, until in holes)
        else:
            cold = (
                is_stray
                or not any(at <= opened for at in starts)
                or partial
                or any(opened < at <= first[0] for at in starts)
                or any(begun <= opened < until for begun, until in holes)
            )
            partial = partial or cold
            baseline = first[1] if cold and interval != "1d" else 0
            gap = gap or any(begun < end and until > opened for begun, until in holes)
        volume = Decimal(max(last[1] - baseline, 0))
        corrected = peak > last[1] or first[1] < baseline or last[1] < baseline
    return Reference(
        ordered[0][3], max(prices), min(prices), ordered[-1][3], volume, vwap, len(trades) or None,
        partial, gap, corrected, max(offsets),
    )  # fmt: skip


def _concerns(venue: Venue, control: Tick, interval: str, window: Window, start: int, opened: int) -> bool:
    session, label = window
    at, until = control.event_time, control.until or control.event_time
    first = venue.date_after(session, at) if interval == "1d" else at // LENGTHS[interval] * LENGTHS[interval]
    if label < first:
        return False
    if control.kind == "repair":
        return start <= until
    return control.kind == "start" or opened <= until


def _unrepaired(offset: int, gap: Tick, controls: Log) -> list[tuple[int, int]]:
    """The parts of a hole that no later repair covers."""
    parts = [(gap.event_time, gap.until or gap.event_time)]
    for at, control in controls:
        if at > offset and control.kind == "repair":
            low, high = control.event_time, control.until or control.event_time
            outside = [(first, last) for first, last in parts if last < low or first > high]
            inside = [part for part in parts if part not in outside]
            parts = outside + [(first, low) for first, _ in inside if first < low]
            parts += [(high, last) for _, last in inside if last > high]
    return parts


def _unique(entries: Log) -> Log:
    seen: set[tuple[int, int]] = set()
    unique = []
    for offset, tick in sorted(entries, key=lambda entry: entry[0]):
        identity = (tick.event_time // MINUTE, tick.trade_id)
        if tick.kind == "trade" and tick.trade_id >= 0:
            if identity in seen:
                continue
            seen.add(identity)
        unique.append((offset, tick))
    return unique


def _edge(offset: int, tick: Tick) -> tuple[int, int, int, float]:
    if tick.kind == "snapshot":
        return tick.event_time, tick.day_volume, tick.received_ms, tick.price
    order = tick.sequence if tick.sequence is not None else tick.trade_id if tick.trade_id >= 0 else offset
    return tick.event_time, order, 0, tick.price


def _points(entries: Log) -> list[tuple[int, int, int]]:
    """(event time, cumulative volume, offset) of the snapshots that carry one."""
    return [
        (tick.event_time, tick.day_volume, offset)
        for offset, tick in entries
        if tick.kind == "snapshot" and tick.day_volume >= 0
    ]


def assert_as_in(expected: Mapping[CandleKey, Reference], found: Mapping[CandleKey, Candle]) -> None:
    """Every candle is as the reference has it, and there are no others."""
    assert found.keys() == expected.keys()
    for key, candle in found.items():
        reference = expected[key]
        prices = (candle.open, candle.high, candle.low, candle.close)
        assert prices == (reference.open, reference.high, reference.low, reference.close)
        assert candle.volume == (None if reference.volume is None else float(reference.volume))
        assert candle.trades == reference.trades
        assert (candle.partial, candle.gap, candle.corrected) == (reference.partial, reference.gap, reference.corrected)
        assert candle.version & (CLOSED_BIT - 1) == reference.offset
        assert (candle.vwap is None) == (reference.vwap is None)
        if reference.vwap is not None:
            assert abs(Fraction(candle.vwap) - reference.vwap) <= Fraction(1, 10**12) * reference.vwap
