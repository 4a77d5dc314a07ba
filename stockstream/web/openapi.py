"""What the HTTP side answers, route by route, as an OpenAPI document."""

from __future__ import annotations

from typing import Any

from stockstream.core.interval import INTERVALS_MS, SESSIONS
from stockstream.models.gap import GAP_STATES
from stockstream.web.candles import DEFAULT_LIMIT, FILLS, MAX_LIMIT
from stockstream.web.guard import OPEN_PATHS
from stockstream.web.keys import READ, SUBSCRIPTIONS_WRITE
from stockstream.web.schemas import SCHEMAS, ref
from stockstream.web.stream import MAX_SYMBOLS

Json = dict[str, Any]

_SYMBOL: Json = {"$ref": "#/components/parameters/symbol"}
_INTERVALS = list(INTERVALS_MS)


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _answer(description: str, schema: Json, media_type: str = "application/json") -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(*codes: int) -> Json:
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in codes}


def _get(summary: str, answer: Json, *errors: int, parameters: list[Json] | None = None, description: str = "") -> Json:
    operation: Json = {"summary": summary, "responses": {"200": answer, **_problems(*errors)}}
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def _change(summary: str, answers: Json) -> Json:
    """An operation that needs an API key wherever the worker listens."""
    return {
        "summary": summary,
        "description": f"Needs an API key with the scope `{SUBSCRIPTIONS_WRITE}`, and has a rate.",
        "parameters": [_SYMBOL],
        "security": _security(SUBSCRIPTIONS_WRITE),
        "responses": {**answers, **_problems(400, 401, 403, 411, 413, 429, 503)},
    }


def _security(scope: str) -> list[Json]:
    return [{"bearer": [scope]}, {"header": [scope]}]


def _read(operation: Json) -> Json:
    """An operation that needs a key where reads are not open."""
    return {
        **operation,
        "security": [{}, *_security(READ)],
        "responses": {**operation["responses"], **_problems(401, 403, 429, 503)},
    }


_INTERVAL = _query("interval", "Length of the windows.", {"enum": _INTERVALS, "default": "1m"})
_SESSION = _query(
    "session", "Regular trading hours or those around them.", {"enum": list(SESSIONS), "default": "regular"}
)
_TIME: Json = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}]}

PATHS: Json = {
    "/latest": _get("The latest price of every symbol", _answer("By symbol.", ref("LatestList")), 503),
    "/latest/{symbol}": _get(
        "The latest price of one symbol",
        _answer("The price, its times and its age.", ref("Latest")),
        *(400, 404, 503),
        parameters=[_SYMBOL],
    ),
    "/candles/{symbol}": _get(
        "Candles, stored and open",
        _answer("The last candles of the range, ascending.", ref("CandleList")),
        *(400, 404, 503),
        description="Stored candles overlaid with the open ones; of one window the greatest version. "
        "Any worker answers for any symbol.",
        parameters=[
            _SYMBOL,
            _INTERVAL,
            _query("start", "First window start: RFC 3339 or epoch milliseconds.", _TIME),
            _query("end", "Window starts lie before it: RFC 3339 or epoch milliseconds.", _TIME),
            _query(
                "limit",
                "At most so many, the newest.",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_LIMIT,
                    "default": DEFAULT_LIMIT,
                },
            ),
            _query(
                "fill",
                "What stands for windows in which the exchange is open, and nothing was traded.",
                {"enum": list(FILLS), "default": "none"},
            ),
            _SESSION,
        ],
    ),
    "/stream": _get(
        "Changes as they happen",
        _answer(
            "Events `snapshot` (SnapshotEvent), `candle` (CandleEvent), `latest` (Latest) and `removed`.",
            {"type": "string"},
            "text/event-stream",
        ),
        *(400, 503),
        description="Server-Sent Events. What is known comes first, as a `snapshot`; then every change, at most some "
        "seven times a second, of one candle or price only the newest state. States may come twice: the greatest "
        "version counts. After a break `Last-Event-ID` resumes without a hole; where that is not possible any more a "
        "`snapshot` begins anew.",
        parameters=[
            _query(
                "symbols",
                f"At most {MAX_SYMBOLS}, by comma; `*` for the prices of all.",
                {
                    "type": "string",
                    "default": "*",
                },
            ),
            _query("interval", "Follow the candles of the symbols too, of this interval.", {"enum": _INTERVALS}),
            _SESSION,
            _query("latest", "`all`: the prices of every symbol, whichever are named.", {"enum": ["all"]}),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The id of the last event that was received.",
                "schema": {"type": "string"},
            },
        ],
    ),
    "/gaps": _get(
        "Where ticks are, or were, missing",
        _answer("The last holes asked for, ascending by their beginning.", ref("GapList")),
        *(400, 503),
        description="The holes of the last 30 days. Any worker answers for any symbol.",
        parameters=[
            _query("symbol", "Those of one symbol.", {"type": "string"}),
            _query("from", "They end after it: RFC 3339 or epoch milliseconds.", _TIME),
            _query("to", "They begin before it: RFC 3339 or epoch milliseconds.", _TIME),
            _query("state", "Those in one state.", {"enum": list(GAP_STATES)}),
            _query(
                "limit",
                "At most so many, the newest.",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            ),
        ],
    ),
    "/subscriptions": _get("What is watched", _answer("By symbol.", ref("SubscriptionList"))),
    "/subscriptions/{symbol}": {
        **_get(
            "Whether a symbol is watched",
            _answer("Since when, and by whom.", ref("Subscription")),
            *(400, 404),
            parameters=[_SYMBOL],
        ),
        "put": _change(
            "Watch a symbol",
            {
                "200": _answer("It was watched already.", ref("Subscription")),
                "201": _answer("It is watched from now on.", ref("Subscription")),
            },
        ),
        "delete": _change("Watch a symbol no longer", {"204": {"description": "Done."}, **_problems(404)}),
    },
    "/tables/{name}/{symbol}": _get(
        "A table's own rows",
        _answer("The newest rows, ascending, as their owner holds them.", ref("TableRows")),
        *(400, 404, 503),
        description="Asked of the worker that owns the symbol's partition.",
        parameters=[
            {
                "name": "name",
                "in": "path",
                "required": True,
                "schema": {"enum": [*(f"candles_{interval}" for interval in _INTERVALS), "latest"]},
            },
            _SYMBOL,
        ],
    ),
    "/health/live": _get("Whether the process runs", _answer("It does.", ref("Alive"))),
    "/health/ready": {
        "get": {
            "summary": "Whether the worker serves, check by check",
            "description": "What is wrong, only for who may read.",
            "responses": {
                "200": _answer("Ready, or degraded.", ref("Readiness")),
                "503": _answer("Unready.", ref("Readiness")),
            },
        }
    },
    "/metrics": _get(
        "Counters since the worker's start",
        _answer("Prometheus' text format.", {"type": "string"}, "text/plain"),
        description="Dead letters by reason, ticks by verdict, rows of the sink by outcome.",
    ),
    "/openapi.json": _get("This document", _answer("OpenAPI 3.1.", {"type": "object"})),
    "/docs": _get("This document, to read", _answer("A page.", {"type": "string"}, "text/html")),
    "/": _get("The live chart", _answer("A page.", {"type": "string"}, "text/html")),
    "/static/{path}": _get(
        "What the pages are made of",
        _answer("A file.", {"type": "string"}, "*/*"),
        404,
        parameters=[{"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}],
    ),
}


def _problem(description: str) -> Json:
    return _answer(description, ref("Problem"), "application/problem+json")


def document() -> Json:
    """The OpenAPI document."""
    paths = {
        path: operations if path in OPEN_PATHS else operations | {"get": _read(operations["get"])}
        for path, operations in PATHS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stockstream",
            "version": "1",
            "description": "Candles and prices, live and stored. Times are RFC 3339 in UTC, each with a twin in epoch "
            "milliseconds (`_ms`). Versions are text, since they exceed what a JSON number holds. Changes need an API "
            "key, as `Authorization: Bearer …` or `X-API-Key`; so do reads, unless the worker listens on loopback "
            "alone or its settings open them. How many requests and streams a client may have open is limited.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "parameters": {
                "symbol": {
                    "name": "symbol",
                    "in": "path",
                    "required": True,
                    "description": "Percent-encoded where needed.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._\\-^=:/]{1,64}$"},
                    "example": "BTC-USD",
                }
            },
            "responses": {
                "400": _problem("The request cannot be read; `detail` says why."),
                "401": _problem(
                    "The API key is missing, not known, or has expired; `WWW-Authenticate` says what is needed."
                ),
                "403": _problem("The API key lacks the scope, or there is none that has it; `detail` says what to do."),
                "404": _problem("Nothing is known of it."),
                "411": _problem("A body without `Content-Length`."),
                "413": _problem("The body is too great."),
                "429": _problem("Too much from this address; `Retry-After` says when to try again."),
                "503": _problem("Not now; `Retry-After` says when to try again."),
            },
            "schemas": SCHEMAS,
        },
    }
