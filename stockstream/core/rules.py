"""What decides a candle, besides its ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy


@dataclass(frozen=True, slots=True)
class CandleRules:
    """Times in ms; ``epoch`` counts the rebirths of the tick topics; ``trading`` tells the trading dates."""

    policy: Policy
    close_delay_ms: int
    retention_ms: int
    epoch: int
    trading: Trading = field(default_factory=Trading)
