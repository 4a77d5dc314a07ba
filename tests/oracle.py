"""What the candles of a log must be, and whether those found somewhere are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from reference import LENGTHS, Reference, reference_candles

from stockstream.models import Candle, Tick

Key = tuple[str, str, str, int]
"""(symbol, interval, session, window start ms)."""

LATENESS_MS = 900_000
FUTURE_MS = 60_000
CLOSED_BIT = 1 << 55
VWAP_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Expected:
    """A candle's values; ``is_closed`` None: both are right, for it depends on when one looks."""

    values: Reference
    is_closed: bool | None


def is_accepted(tick: Tick) -> bool:
    """Whether a trade may count, by looking at nothing else."""
    received = tick.producer_timestamp or tick.event_time
    sound = math.isfinite(tick.price) and tick.price > 0 and math.isfinite(tick.last_size) and tick.last_size >= 0
    return sound and -FUTURE_MS <= received - tick.event_time <= LATENESS_MS


def expected_candles(log: Iterable[tuple[int, Tick]], closed_before_ms: int = 0) -> dict[Key, Expected]:
    """Every candle of the ticks that lie at these offsets of one partition.

    Windows that end at or before ``closed_before_ms`` must be closed.
    """
    made = reference_candles((offset, tick) for offset, tick in log if is_accepted(tick))
    return {
        key: Expected(reference, True if key[3] + LENGTHS[key[1]] <= closed_before_ms else None)
        for key, reference in made.items()
    }


def assert_candles(expected: Mapping[Key, Expected], found: Mapping[Key, Candle], where: str) -> None:
    """Every candle is there, none besides, each right in every field."""
    difference = difference_of(expected, found)
    if difference:
        raise AssertionError(f"{where}: {difference}")


def difference_of(expected: Mapping[Key, Expected], found: Mapping[Key, Candle]) -> str:
    """A line of how many candles are missing, too many and wrong, and some of them; empty if all are right."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    wrong = [
        f"{key}: {', '.join(faults)}"
        for key in sorted(expected.keys() & found.keys())
        if (faults := _faults(key, expected[key], found[key]))
    ]
    if not (missing or extra or wrong):
        return ""
    examples = [*(f"missing: {key}" for key in missing[:3]), *(f"too many: {key}" for key in extra[:3]), *wrong[:5]]
    counts = f"of {len(expected)} candles {len(missing)} are missing, {len(extra)} too many, {len(wrong)} wrong"
    return "\n".join([counts, *examples])


def _faults(key: Key, expected: Expected, found: Candle) -> list[str]:
    values, start, end = expected.values, key[3], key[3] + LENGTHS[key[1]]
    is_closed = found.is_closed if expected.is_closed is None else expected.is_closed
    right = {
        **{name: getattr(values, name) for name in ("open", "high", "low", "close", "trades")},
        **{name: getattr(values, name) for name in ("partial", "gap", "corrected")},
        "volume": None if values.volume is None else float(values.volume),
        "is_closed": is_closed,
        "version": values.offset | (CLOSED_BIT if is_closed else 0),
        "window_end": end,
        "session_open": start,
        "session_close": end,
    }
    faults = [
        f"{name} is {getattr(found, name)!r} instead of {value!r}"
        for name, value in right.items()
        if getattr(found, name) != value
    ]
    if not _is_close(values.vwap, found.vwap):
        faults.append(f"vwap is {found.vwap!r} instead of {values.vwap and float(values.vwap)!r}")
    if (found.state == "forming") is is_closed:
        faults.append(f"state is {found.state}")
    return faults


def _is_close(expected: Fraction | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return math.isclose(float(expected), found, rel_tol=VWAP_TOLERANCE, abs_tol=0)
