"""Options that are times or sessions, and what they choose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import click

from stockstream.core.interval import DAILY, INTERVALS_MS, REGULAR, SESSIONS, window_end, window_start
from stockstream.core.trading import FARTHEST_MS
from stockstream.errors import InvalidInput
from stockstream.models import Tick
from stockstream.models.tick import CONTROLS
from stockstream.web.times import parse_time

_DAY = 10


@dataclass(frozen=True, slots=True)
class Span:
    """Which candles are wanted: those whose window begins in ``[from_ms, to_ms)``; None: no bound."""

    interval: str
    from_ms: int | None = None
    to_ms: int | None = None

    def holds(self, start_ms: int) -> bool:
        """Whether the candle that begins then is wanted."""
        return (self.from_ms is None or start_ms >= self.from_ms) and (self.to_ms is None or start_ms < self.to_ms)

    @property
    def is_endless(self) -> bool:
        """Whether every candle is wanted."""
        return self.from_ms is None and self.to_ms is None

    @property
    def first_ms(self) -> int | None:
        """The first event that matters: a candle's cumulative volume counts from those before it on its date."""
        return None if self.from_ms is None else window_start(DAILY, self.from_ms) - FARTHEST_MS

    @property
    def end_ms(self) -> int | None:
        """When the last window that is wanted has surely ended."""
        if self.to_ms is None:
            return None
        end_ms = window_end(self.interval, window_start(self.interval, max(0, self.to_ms - 1)))
        return end_ms + FARTHEST_MS if self.interval == DAILY else end_ms

    def matters(self, tick: Tick) -> bool:
        """Whether the candles depend on the tick; a control record may reach into them from anywhere."""
        if tick.kind in CONTROLS:
            return True
        first_ms, end_ms = self.first_ms, self.end_ms
        return (first_ms is None or tick.event_time >= first_ms) and (end_ms is None or tick.event_time < end_ms)


INTERVAL = click.option(
    "--interval",
    type=click.Choice(list(INTERVALS_MS)),
    default="1m",
    show_default=True,
    help="Length of a candle; 1d is a trading date.",
)

SESSION = click.option(
    "--session", type=click.Choice(SESSIONS), default=REGULAR, show_default=True, help="Regular or extended hours."
)


def parse_time_option(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return RFC 3339, a UTC date or epoch milliseconds as epoch milliseconds; what looks like seconds is refused."""
    if text is None:
        return None
    name = f"--{parameter.name}".replace("_", "-").removesuffix("-ms")
    try:
        if len(text) == _DAY and text[4:8:3] == "--":
            return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        return parse_time(name, text)
    except (InvalidInput, ValueError) as error:
        if text.isdigit():
            raise click.BadParameter(str(error)) from error
        raise click.BadParameter(f"{text!r} is no time: write 2025-01-31, 2025-01-31T09:30:00Z or epoch ms") from error
