"""What a check comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from stockstream.broker.clock import Reading
from stockstream.errors import StockstreamError
from stockstream.settings import Settings

ATTEMPT_S = 5.0
_PATIENCE_S = 8.0
_MOST_SKEW_MS = 2000


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome; ``told`` is what there is, or what is wrong and what to do."""

    check: str
    is_good: bool
    told: str


async def checked(check: str, work: Awaitable[str]) -> Finding:
    """What ``work`` tells; what it raises, and that it takes too long, is what is wrong."""
    try:
        return Finding(check, True, await asyncio.wait_for(work, _PATIENCE_S))
    except TimeoutError:
        return Finding(check, False, f"no answer within {_PATIENCE_S:g} s: is the address right, and the way open?")
    except StockstreamError as error:
        return Finding(check, False, str(error))


async def all_checked(checks: Mapping[str, Awaitable[str]]) -> list[Finding]:
    """All of them at once."""
    return list(await asyncio.gather(*(checked(name, work) for name, work in checks.items())))


def told_of_clock(settings: Settings, of: str, reading: Reading) -> str:
    """That our clock and that ``of`` a server agree; `StockstreamError` if they surely do not."""
    ahead_s, error_s = reading.ahead_ms / 1000, reading.error_ms / 1000
    if abs(reading.ahead_ms) - reading.error_ms > _MOST_SKEW_MS:
        raise StockstreamError(
            f"this clock is {abs(ahead_s):.1f} s {'behind' if ahead_s > 0 else 'ahead of'} that of {of}: set both by "
            f"NTP. At most {_MOST_SKEW_MS / 1000:g} s are well: ticks that seem "
            f"{settings.future_tolerance_s} s ahead of our clock (STOCKSTREAM_FUTURE_TOLERANCE_S) or "
            f"{settings.accepted_lateness_s} s behind it (STOCKSTREAM_ACCEPTED_LATENESS_S) make no candle"
        )
    return f"{abs(ahead_s):.2f} s from this clock, give or take {error_s:.2f} s"


def spelled(duration_ms: float) -> str:
    """A duration in the greatest unit of which it has two."""
    for unit, unit_ms in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if duration_ms >= 2 * unit_ms:
            return f"{duration_ms / unit_ms:.3g} {unit}"
    return f"{duration_ms / 1000:.3g} s"
