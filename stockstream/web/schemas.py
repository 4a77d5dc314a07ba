"""The JSON schemas of what is answered."""

from __future__ import annotations

from typing import Any

from stockstream.core.interval import INTERVALS_MS, SESSIONS
from stockstream.models.candle import STATES
from stockstream.models.gap import GAP_STATES

Json = dict[str, Any]


def ref(name: str) -> Json:
    """Refer to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _record(properties: Json, description: str = "") -> Json:
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": properties,
        "required": list(properties),
    }


def _list(of: Json) -> Json:
    return {"type": "array", "items": of}


def _stamp(name: str) -> Json:
    return {
        name: {"type": "string", "format": "date-time"},
        f"{name}_ms": {"type": "integer", "description": "The same, epoch milliseconds."},
    }


_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "number"}
_FLAG: Json = {"type": "boolean"}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_MAYBE_COUNT: Json = {"type": ["integer", "null"]}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_VERSION: Json = {"type": "string", "pattern": "^[0-9]+$", "description": "The greatest counts; compare as integers."}
_SERIES: Json = {"symbol": _TEXT, "interval": {"enum": list(INTERVALS_MS)}, "session": {"enum": list(SESSIONS)}}
_CANDLE: Json = {
    **_stamp("window_start"),
    **_stamp("window_end"),
    **_stamp("session_open"),
    **_stamp("session_close"),
    **dict.fromkeys(("open", "high", "low", "close"), _NUMBER),
    "volume": {**_MAYBE_NUMBER, "description": "Null where the source does not tell."},
    "vwap": _MAYBE_NUMBER,
    "trades": _MAYBE_COUNT,
    "is_closed": _FLAG,
    "state": {"enum": list(STATES)},
    "version": _VERSION,
    "partial": {**_FLAG, "description": "Its first part was not seen."},
    "gap": {**_FLAG, "description": "Ticks are known to be missing."},
    "corrected": {**_FLAG, "description": "The vendor took cumulative volume back."},
}

SCHEMAS: Json = {
    "Candle": _record(_CANDLE, "One state of one candle over [window_start, window_end)."),
    "CandleList": _record({**_SERIES, "candles": _list(ref("Candle"))}),
    "CandleEvent": _record({**_SERIES, **_CANDLE}, "A candle that changed."),
    "Latest": _record(
        {
            "symbol": _TEXT,
            "price": _NUMBER,
            "change": {**_NUMBER, "description": "Since the previous close, in price units."},
            "change_percent": _NUMBER,
            "session": {"enum": list(SESSIONS)},
            **_stamp("event_time"),
            **_stamp("received_time"),
            "age_ms": {"type": "integer", "description": "Since its event, when it was written."},
            "bid": _MAYBE_NUMBER,
            "ask": _MAYBE_NUMBER,
            "day_volume": _MAYBE_COUNT,
            "currency": _MAYBE_TEXT,
            "exchange": _MAYBE_TEXT,
            "source": _MAYBE_TEXT,
            "version": _VERSION,
        },
        "The last known price of a symbol; it never goes back.",
    ),
    "LatestList": _record({"latest": _list(ref("Latest"))}),
    "Gap": _record(
        {
            "symbol": _TEXT,
            "source": _TEXT,
            **_stamp("from"),
            **_stamp("to"),
            "cause": {**_TEXT, "description": "`closed 1001`, `silent`, `shed`, `worker lost`, `ids 17–20 missing`, …"},
            "state": {"enum": list(GAP_STATES)},
            "reason": {
                **_MAYBE_TEXT,
                "description": "How it was repaired, why it cannot be, or why the last attempt failed.",
            },
            **_stamp("told_at"),
            "repaired_at": {"type": ["string", "null"], "format": "date-time"},
            "repaired_at_ms": _MAYBE_COUNT,
        },
        "Ticks are, or were, missing between two times.",
    ),
    "GapList": _record(
        {
            "gaps": _list(ref("Gap")),
            "summary": _list(
                _record(
                    {
                        "state": {"enum": list(GAP_STATES)},
                        "cause": _TEXT,
                        "count": {"type": "integer"},
                        "seconds": _NUMBER,
                    }
                )
            ),
        },
        "`summary` counts all holes that were asked for, whatever the limit; causes without their numbers of ids.",
    ),
    "Subscription": _record({"symbol": _TEXT, "source": _TEXT, "added_by": _TEXT, **_stamp("since")}),
    "SubscriptionList": _record({"subscriptions": _list(ref("Subscription"))}),
    "SnapshotEvent": _record(
        {
            "complete": {**_FLAG, "description": "False while the worker still reads what was published before."},
            "latest": _list(ref("Latest")),
            "candles": _list(ref("CandleList")),
        },
        "What is known when a stream begins: prices, and the recent candles of the symbols asked for.",
    ),
    "TableRows": _record(
        {"table": _TEXT, "symbol": _TEXT, "rows": _list({"anyOf": [ref("Candle"), ref("Latest")]})},
    ),
    "Alive": _record({"status": {"const": "alive"}}),
    "Readiness": _record(
        {
            "status": {"enum": ["ready", "degraded", "unready"]},
            "checks": _list(_record({"name": _TEXT, "ok": _FLAG, "detail": _TEXT})),
        }
    ),
    "Problem": {
        **_record(
            {
                "type": {"type": "string", "format": "uri-reference"},
                "title": _TEXT,
                "status": {"type": "integer"},
                "instance": _TEXT,
            },
            "RFC 9457.",
        ),
        "additionalProperties": True,
    },
}
