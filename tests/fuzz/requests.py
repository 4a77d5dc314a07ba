"""Requests made by our OpenAPI document: right ones, and such as it does not allow."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_from_bytes

from fuzz.mutation import WORDS, Corpus, Mutator
from fuzz.site import READER, SYMBOLS, WRITER

from stockstream.web.openapi import document

DOCUMENT = document()
_METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS")
_KEYS = [WRITER, WRITER, WRITER, READER, "wrong", "", None]
_TIMES = [b"2025-01-31T09:30:00Z", b"2025-01-31T09:30:00.5+07:00", b"1763000000000", b"0", b"253402300799999"]
_HOSTILE = [b"'; DROP TABLE ticks; --", b"{symbol:String}", b"%(x)s", b"\0", b"<script>", b"../../etc", b"a/b", b"\xff"]
_MOST_OF_HEADER = 1000  # aiohttp refuses more than 8190 bytes before any of ours sees them
_SLASH_ROUTES = {"/static/{path}"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``path`` is the document's, ``url`` what is asked for.

    ``is_right``: the document allows it, and its key has the scope.
    """

    method: str
    path: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    is_right: bool
    may_change: bool

    def __str__(self) -> str:
        return f"{self.method} {self.url} {dict(self.headers)} {self.body!r}"


@dataclass(slots=True)
class _Draft:
    path: str
    query: list[tuple[bytes, bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    is_right: bool = True


class Requests:
    """Makes requests of a seed, of every operation as many."""

    def __init__(self, seed: int) -> None:
        self._rng = rng = random.Random(seed)
        values = [*_TIMES, *_HOSTILE, *(name.encode() for name in SYMBOLS), b"1m", b"regular", b"none", b"10", b"open"]
        self._wrong = Mutator([Corpus(values), Corpus(values, is_text=True, words=[*WORDS, *values])], seed)
        self._operations = [
            (path, method.upper(), operation)
            for path, operations in DOCUMENT["paths"].items()
            for method, operation in operations.items()
        ]
        rng.shuffle(self._operations)
        self._next = 0

    def request(self) -> Request:
        """The next request."""
        rng = self._rng
        path, method, operation = self._operations[self._next % len(self._operations)]
        self._next += 1
        draft = _Draft(path)
        share = rng.choice((0.0, 0.0, 0.3, 0.6))  # of values that are wrong
        for parameter in operation.get("parameters", ()):
            self._give(draft, _resolved(parameter), share)
        if share and rng.random() < 0.2:
            draft.query.append((self._wrong.input()[:40], self._wrong.input()[:40]))
            draft.is_right = False
        if _contradicts(path, {name for name, _ in draft.query}):
            draft.is_right = False
        if draft.query and share and rng.random() < 0.1:
            draft.query.append(draft.query[0])
            draft.is_right = False
        if share and rng.random() < 0.1:
            method, draft.is_right = rng.choice(_METHODS), False
        body = None
        if rng.random() < (0.3 if method == "PUT" else 0.05):
            body, draft.is_right = self._wrong.input(), False
        key = rng.choice(_KEYS)
        if key:
            draft.headers |= rng.choice(({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}))
        if rng.random() < 0.1:
            draft.headers["X-Forwarded-For"] = _header(self._wrong.input())
        right_keys = (WRITER, READER) if method in ("GET", "HEAD") else (WRITER,)
        query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in draft.query)
        return Request(
            method,
            path,
            f"{draft.path}?{query}" if query else draft.path,
            draft.headers,
            body,
            draft.is_right and key in right_keys,
            method not in ("GET", "HEAD", "OPTIONS") and key != WRITER,
        )

    def _give(self, draft: _Draft, parameter: Mapping[str, Any], share: float) -> None:
        """Put a value for a parameter where it belongs; those that need not be are mostly left out."""
        rng, name = self._rng, parameter["name"]
        if not parameter.get("required") and rng.random() < 0.6:
            return
        if rng.random() < share:
            value, draft.is_right = self._wrong.input()[:300], False
        else:
            value = self._value(name, parameter["schema"])
        if parameter["in"] == "query":
            draft.query.append((name.encode(), value))
        elif parameter["in"] == "header":
            draft.headers[name] = _header(value)
        else:
            value = value if value.strip(b"./") else b"%"  # dots are resolved by whoever sends them
            safe = "/" if draft.path in _SLASH_ROUTES else ""
            draft.path = draft.path.replace(f"{{{name}}}", quote_from_bytes(value, safe))

    def _value(self, name: str, schema: Mapping[str, Any]) -> bytes:
        """One that the schema of a parameter allows; times and symbols are such as there are."""
        rng = self._rng
        if "enum" in schema:
            return str(rng.choice(schema["enum"])).encode()
        if "oneOf" in schema:
            return rng.choice(_TIMES)
        if schema.get("type") == "integer":
            return str(rng.choice((schema["minimum"], 3, schema["maximum"]))).encode()
        if name == "path":
            return rng.choice((b"app.js", b"style.css", b"none"))
        if name == "symbols":
            return ",".join(rng.sample(SYMBOLS, rng.randint(1, 3))).encode()
        if name == "Last-Event-ID":
            return b"0123456789ab-17"
        return rng.choice([*SYMBOLS, *SYMBOLS, "NONE", "S" * 64, "^-=:._"]).encode()


def _contradicts(path: str, names: set[bytes]) -> bool:
    """Whether parameters that are right by themselves may be wrong together: an end before its start, say."""
    is_span = names >= {b"start", b"end"} or names >= {b"from", b"to"}
    return is_span or (path == "/stream" and bool(names & {b"interval", b"session"}))


def _resolved(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = parameter
    if "$ref" in parameter:
        found = DOCUMENT["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return found


def _quoted(text: bytes) -> str:
    return quote_from_bytes(text, safe="")


def _header(value: bytes) -> str:
    """A value that a header can have: others are no request, and sent as bytes."""
    return bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F).decode("latin-1").strip()[:_MOST_OF_HEADER]


def raw_requests(seed: int) -> Mutator:
    """Whole requests as bytes, damaged."""
    paths = ["/latest", "/latest/AAPL", "/candles/AAPL?interval=5m&limit=3", "/gaps?state=open", "/tables/latest/AAPL"]
    paths += ["/static/app.js", "/openapi.json", "/metrics", "/health/ready", "/candles/A?start=1763000000000"]
    head = f"Host: localhost\r\nX-API-Key: {WRITER}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
    asked: Sequence[str] = [
        *(f"GET {path} HTTP/1.1\r\n{head}\r\n" for path in paths),
        *(
            f"{method} /subscriptions/AAPL HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}"
            for method in ("PUT", "DELETE")
        ),
        f"PUT /subscriptions/A HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
    ]
    return Mutator([Corpus([each.encode() for each in asked], is_text=True)], seed)
