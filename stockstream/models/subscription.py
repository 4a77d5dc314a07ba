"""That a symbol is watched."""

from __future__ import annotations

from dataclasses import dataclass, field

from stockstream.models.tick import avro


@dataclass(frozen=True, slots=True)
class Subscription:
    """``source`` watches ``symbol`` since ``since`` (epoch ms, UTC); ``added_by`` is settings, api or cli."""

    symbol: str = field(metadata=avro("string"))
    source: str = field(metadata=avro("string"))
    added_by: str = field(metadata=avro("string"))
    since: int = field(metadata=avro("long"))
