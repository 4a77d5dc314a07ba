"""The records of stockstream: the only lists of their fields; Avro schemas and tables derive from them."""

from stockstream.models.candle import Candle
from stockstream.models.latest import Latest
from stockstream.models.schema import (
    CANDLE_SCHEMA,
    LATEST_SCHEMA,
    SUBSCRIPTION_SCHEMA,
    TICK_SCHEMA_V1,
    TICK_SCHEMA_V2,
)
from stockstream.models.subscription import Subscription
from stockstream.models.symbol import check_symbol, is_symbol
from stockstream.models.tick import Tick
from stockstream.models.verdict import Verdict

__all__ = [
    "CANDLE_SCHEMA",
    "LATEST_SCHEMA",
    "SUBSCRIPTION_SCHEMA",
    "TICK_SCHEMA_V1",
    "TICK_SCHEMA_V2",
    "Candle",
    "Latest",
    "Subscription",
    "Tick",
    "Verdict",
    "check_symbol",
    "is_symbol",
]
