"""Candles by the rules, worked out the slow way: sort everything, add up fractions. Shares no code with the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from stockstream.models import Tick

MINUTE, DAY = 60_000, 86_400_000
LENGTHS = {"1m": MINUTE, "5m": 5 * MINUTE, "1d": DAY}
CandleKey = tuple[str, str, int]
"""(symbol, interval, window start ms)."""


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


def reference_candles(log: Iterable[tuple[int, Tick]]) -> dict[CandleKey, Reference]:
    """The candles of (offset, tick) pairs that were all accepted, of one topic, nothing evicted."""
    by_symbol: dict[str, Log] = {}
    for entry in log:
        by_symbol.setdefault(entry[1].symbol, []).append(entry)
    candles: dict[CandleKey, Reference] = {}
    for symbol, entries in by_symbol.items():
        for interval, length in LENGTHS.items():
            windows: dict[int, Log] = {}
            for offset, tick in entries:
                if tick.kind in ("trade", "snapshot"):
                    windows.setdefault(tick.event_time // length * length, []).append((offset, tick))
            controls = [(offset, tick) for offset, tick in entries if tick.kind in ("start", "gap", "repair")]
            for start in sorted(windows):
                candles[symbol, interval, start] = _candle(interval, start, windows, controls)
    return candles


def _candle(interval: str, start: int, windows: dict[int, Log], controls: Log) -> Reference:
    length, opened = LENGTHS[interval], start // DAY * DAY
    end = start + length
    entries = _unique(windows[start])
    ordered = sorted((_edge(offset, tick) for offset, tick in entries))
    prices = [tick.price for _, tick in entries]
    trades = [tick for _, tick in entries if tick.kind == "trade"]
    starts = [tick.event_time for _, tick in controls if tick.kind == "start"]
    holes = [(tick.event_time, tick.until or tick.event_time) for _, tick in controls if tick.kind == "gap"]
    offsets = [offset for offset, _ in windows[start]]
    offsets += [offset for offset, tick in controls if _concerns(tick, start, length)]
    inside = [at for at in starts if start < at < end]
    partial = bool(inside) and min(inside) <= max(ordered[0][0], ordered[0][2])
    unrepaired = [piece for at, tick in controls if tick.kind == "gap" for piece in _unrepaired(at, tick, controls)]
    gap = any(first < end and (last > start or first >= start) for first, last in unrepaired)
    corrected = False
    volume: Decimal | None = None
    vwap: Fraction | None = None
    points = _points(windows[start])
    if trades:
        sizes = [Decimal(tick.last_size).quantize(Decimal("1e-8"), ROUND_HALF_EVEN) for tick in trades]
        volume = sum(sizes, Decimal(0))
        turnover = sum(
            (Fraction(tick.price) * Fraction(size) for tick, size in zip(trades, sizes, strict=True)), Fraction(0)
        )
        vwap = turnover / Fraction(volume) if volume else None
    elif points:
        earlier = [at for at in windows if opened <= at < start and _points(windows[at])]
        first, last = min(points)[:2], max(points)[:2]
        peak = max(cumulative for _, cumulative, _ in points)
        if earlier:
            before = _points(windows[max(earlier)])
            since, baseline = max(before)[:2]
            offsets.append(min(offset for at, cumulative, offset in before if (at, cumulative) == (since, baseline)))
            gap = gap or any(begun < end and until > since for begun, until in holes)
        else:
            cold = (
                not any(at <= opened for at in starts)
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


def _concerns(control: Tick, start: int, length: int) -> bool:
    if start < control.event_time // length * length:
        return False
    if control.kind == "repair":
        return start <= (control.until or control.event_time)
    return control.kind == "start" or start // DAY * DAY <= (control.until or control.event_time)


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
