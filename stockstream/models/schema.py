"""Avro schemas of the records, derived from their dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from stockstream.models.candle import Candle
from stockstream.models.latest import Latest
from stockstream.models.subscription import Subscription
from stockstream.models.tick import Tick

AvroSchema = dict[str, Any]


def avro_schema(record: type, name: str, namespace: str = "finance.avro") -> AvroSchema:
    """The Avro record of a dataclass whose fields carry `stockstream.models.tick.avro` metadata, in their order."""
    columns = []
    for f in fields(record):
        column = {"name": f.name, "type": f.metadata["avro"]}
        if f.metadata["avro_default"] is not ...:
            column["default"] = f.metadata["avro_default"]
        columns.append(column)
    return {"type": "record", "name": name, "namespace": namespace, "fields": columns}


TICK_SCHEMA_V1: AvroSchema = {
    "type": "record",
    "name": "stock",
    "namespace": "finance.avro",
    "fields": [
        {"name": name, "type": kind}
        for name, kind in (
            ("symbol", "string"),
            ("price", "float"),
            ("timestamp", "string"),
            ("exchange", "string"),
            ("quote_type", "int"),
            ("market_hours", "int"),
            ("change_percent", "float"),
            ("day_volume", "int"),
            ("change", "float"),
            ("last_size", "int"),
            ("price_hint", "string"),
            ("producer_timestamp", "long"),
        )
    ],
}
TICK_SCHEMA_V2 = avro_schema(Tick, "stock")
CANDLE_SCHEMA = avro_schema(Candle, "candle")
SUBSCRIPTION_SCHEMA = avro_schema(Subscription, "subscription")
LATEST_SCHEMA = avro_schema(Latest, "latest")
