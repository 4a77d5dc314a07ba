"""One market event: a trade, a snapshot of the last price, a quote, or a control record of the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["trade", "snapshot", "quote", "start", "gap", "repair"]
KINDS: tuple[Kind, ...] = ("trade", "snapshot", "quote", "start", "gap", "repair")
CONTROLS: frozenset[Kind] = frozenset({"start", "gap", "repair"})
"""The kinds that are no prices, but say what is known of them."""
REGULAR_MARKET = 1
"""``market_hours`` of the regular session, and of what does not say; 0 is before it, 2 and 3 after or around it."""
SPANS: frozenset[Kind] = frozenset({"gap", "repair"})
"""Those of them that tell of a stretch of time, from ``event_time`` to ``until``."""


def avro(kind: object, default: object = ...) -> dict[str, Any]:
    """Dataclass metadata: the field's Avro type, and the default that old data is read with."""
    return {"avro": kind, "avro_default": default}


@dataclass(slots=True)
class Tick:
    """A tick as every source delivers it and version 2 of its schema stores it.

    Times are epoch milliseconds in UTC. Absent numbers are -1 in the hot fields (``day_volume``, ``trade_id``)
    and None elsewhere. ``producer_timestamp`` is when our process received it; 0 means unknown, and then it
    counts as received when it happened. ``day_volume`` is cumulative over the trading date and must be -1
    where a vendor's figure is a rolling one. ``price_hint`` is the number of decimals to display.

    Kinds: ``trade`` carries one trade of ``last_size``; ``snapshot`` the last price seen by a polling vendor;
    ``quote`` moves the latest price only; ``start`` says that the symbol is subscribed since ``event_time``;
    ``gap`` that ticks are missing from ``event_time`` to ``until``, because of ``cause``; ``repair`` that none are: all
    of them stand before it in the log.
    """

    symbol: str = field(metadata=avro("string"))
    event_time: int = field(metadata=avro("long", 0))
    price: float = field(default=0.0, metadata=avro("double"))
    last_size: float = field(default=0.0, metadata=avro("double"))
    day_volume: int = field(default=-1, metadata=avro("long"))
    trade_id: int = field(default=-1, metadata=avro("long", -1))
    kind: Kind = field(
        default="trade",
        metadata=avro({"type": "enum", "name": "Kind", "symbols": list(KINDS), "default": "snapshot"}, "snapshot"),
    )
    producer_timestamp: int = field(default=0, metadata=avro("long"))
    timestamp: str = field(default="", metadata=avro("string", ""))
    exchange: str = field(default="", metadata=avro("string", ""))
    quote_type: int = field(default=0, metadata=avro("int", 0))
    market_hours: int = field(default=1, metadata=avro("int", 1))
    change_percent: float = field(default=0.0, metadata=avro("double", 0.0))
    change: float = field(default=0.0, metadata=avro("double", 0.0))
    price_hint: str = field(default="", metadata=avro("string", ""))
    source: str = field(default="yahoo", metadata=avro("string", "yahoo"))
    sequence: int | None = field(default=None, metadata=avro(["null", "long"], None))
    currency: str | None = field(default=None, metadata=avro(["null", "string"], None))
    conditions: str | None = field(default=None, metadata=avro(["null", "string"], None))
    bid: float | None = field(default=None, metadata=avro(["null", "double"], None))
    bid_size: float | None = field(default=None, metadata=avro(["null", "double"], None))
    ask: float | None = field(default=None, metadata=avro(["null", "double"], None))
    ask_size: float | None = field(default=None, metadata=avro(["null", "double"], None))
    open_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    high_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    low_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    volume_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    quote_volume_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    trades_24h: int | None = field(default=None, metadata=avro(["null", "long"], None))
    price_change_24h: float | None = field(default=None, metadata=avro(["null", "double"], None))
    until: int | None = field(default=None, metadata=avro(["null", "long"], None))
    cause: str | None = field(default=None, metadata=avro(["null", "string"], None))

    @property
    def received_ms(self) -> int:
        """When the tick reached us, epoch ms; its own time where that is not known."""
        return self.producer_timestamp or self.event_time
