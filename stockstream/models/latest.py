"""The last known price of a symbol, as it is published."""

from __future__ import annotations

from dataclasses import dataclass, field

from stockstream.models.tick import avro


@dataclass(slots=True)
class Latest:
    """The price with the greatest (event time, sequence) seen for a symbol; it never goes back.

    ``event_time`` and ``received_time`` are epoch ms in UTC; ``change`` is since the previous close, in price units,
    ``change_percent`` in percent; ``session`` is ``regular`` or ``extended``; ``order`` breaks ties of ``event_time``;
    ``version`` is the source offset under its epoch, as in candles.
    """

    symbol: str = field(metadata=avro("string"))
    price: float = field(metadata=avro("double"))
    change: float = field(metadata=avro("double"))
    change_percent: float = field(metadata=avro("double"))
    session: str = field(metadata=avro("string"))
    event_time: int = field(metadata=avro("long"))
    received_time: int = field(metadata=avro("long"))
    order: int = field(metadata=avro("long"))
    version: int = field(metadata=avro("long"))
    source: str = field(default="", metadata=avro("string", ""))
    exchange: str = field(default="", metadata=avro("string", ""))
    currency: str | None = field(default=None, metadata=avro(["null", "string"], None))
    bid: float | None = field(default=None, metadata=avro(["null", "double"], None))
    ask: float | None = field(default=None, metadata=avro(["null", "double"], None))
    day_volume: int = field(default=-1, metadata=avro("long", -1))
