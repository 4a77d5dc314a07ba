"""Asks the HTTP side, and compares the answers with what our OpenAPI document says of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from fuzz.mutation import Mutator
from fuzz.requests import DOCUMENT, Request, Requests, raw_requests
from fuzz.site import READER, served
from jsonschema import Draft202012Validator
from yarl import URL

HANGS_S = 10.0
_WAITS_S = 0.5  # for an answer to bytes that may be the beginning of a request only
_RAW_SHARE = 5  # of all requests one in so many is sent as bytes
_AT_ONCE = 4
_MOST_FINDINGS = 20
_UNAVAILABLE = (503, 504)
_REFUSED = {400, 401, 403, 404, 405, 411, 413, 414}
"""What a request that would change something may come to without the right key; 404 and 405: there is no such route."""
_OF_ANY = {"404", "405", "414"}
"""Statuses that the document does not name with each operation: another path or method, and a URL that is too long."""
_PROBLEM = "application/problem+json"


@dataclass(slots=True)
class HttpOutcome:
    """What requests came to, by status."""

    requests: int = 0
    raw_requests: int = 0
    right: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0
    slowest_ms: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)
    """What is wrong, with the first request that shows it."""

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "requests": self.requests,
            "right": self.right,
            "raw_requests": self.raw_requests,
            "statuses": dict(sorted(self.statuses.items())),
            "took_s": round(self.took_s, 1),
            "per_s": round((self.requests + self.raw_requests) / self.took_s),
            "slowest_ms": round(self.slowest_ms, 1),
            "findings": [{"told": told, "request": request} for told, request in self.findings.items()],
        }

    def __str__(self) -> str:
        found = [f"{told}\n  {request}" for told, request in self.findings.items()]
        statuses = ", ".join(f"{count} × {status}" for status, count in sorted(self.statuses.items()))
        line = f"{self.requests:,} requests and {self.raw_requests:,} as bytes in {self.took_s:.0f} s: {statuses}; "
        return "\n".join([f"{line}slowest {self.slowest_ms:.0f} ms, {len(found)} findings", *found])

    def find(self, told: str, request: object) -> None:
        """Keep a finding, the first of those that are told alike."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.setdefault(told[:500], str(request)[:2000])

    def count(self, status: str, began_s: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.slowest_ms = max(self.slowest_ms, 1000 * (time.perf_counter() - began_s))


def ask(seed: int, count: int) -> HttpOutcome:
    """Send ``count`` requests of a seed, a fifth of them as damaged bytes."""
    return asyncio.run(_ask(seed, count))


async def _ask(seed: int, count: int) -> HttpOutcome:
    outcome, began_s, raw = HttpOutcome(), time.perf_counter(), count // _RAW_SHARE
    async with served() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=True) as session:
        requests, mutator = Requests(seed), raw_requests(seed)
        validators = _Validators()
        await _in_turn(count - raw, lambda: _send(outcome, session, requests.request(), validators))
        await _in_turn(raw, lambda: _send_raw(outcome, port, mutator))
        async with session.get("/latest", headers={"X-API-Key": READER}) as answer:
            if answer.status != 200:
                outcome.find("after all of these requests /latest is not answered", answer.status)
    outcome.took_s = time.perf_counter() - began_s
    return outcome


async def _in_turn(count: int, send: Callable[[], Any]) -> None:
    """Do so much, a few at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await send()

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


class _Validators:
    """The schemas of answers, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, Draft202012Validator] = {}

    def wrong(self, schema: dict[str, Any], body: object) -> str | None:
        """What of a body is not as its schema says."""
        key = json.dumps(schema)
        if key not in self._made:
            self._made[key] = Draft202012Validator({**DOCUMENT, **schema})
        error = next(self._made[key].iter_errors(body), None)
        return None if error is None else f"{error.json_path}: {error.message[:200]}"


async def _send(
    outcome: HttpOutcome, session: aiohttp.ClientSession, request: Request, validators: _Validators
) -> None:
    outcome.requests += 1
    outcome.right += request.is_right
    began_s = time.perf_counter()
    try:
        async with (
            asyncio.timeout(HANGS_S),
            session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
            ) as answer,
        ):
            is_stream = request.path == "/stream" and answer.status == 200
            body = await answer.content.read(6) if is_stream else await answer.read()
            if is_stream:
                answer.close()  # it does not end
    except TimeoutError:
        outcome.find(f"{request.method} {request.path} is not answered within {HANGS_S:g} s", request)
        return
    outcome.count(str(answer.status), began_s)
    for told in _wrong(request, answer, body, validators):
        outcome.find(f"{request.method} {request.path}: {told}", request)


def _wrong(request: Request, answer: aiohttp.ClientResponse, body: bytes, validators: _Validators) -> list[str]:
    """What of an answer is not as it must be."""
    status, told = answer.status, []
    if status >= 500 and status not in _UNAVAILABLE:
        return [f"is answered with {status}"]
    if request.may_change and status not in _REFUSED:
        told.append(f"is answered with {status} without the right key")
    if request.is_right and status not in (200, 201, 204, 404, *_UNAVAILABLE):
        told.append(f"is answered with {status}, although the document allows it: {body[:200]!r}")
    operation = DOCUMENT["paths"][request.path].get(request.method.lower())
    if operation is None:
        return told  # HEAD, and methods that there are none of
    described = operation["responses"].get(str(status))
    if described is None and str(status) not in _OF_ANY:
        return [*told, f"is answered with {status}, which the document does not name"]
    if described is not None and "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    content = (described or {"content": {_PROBLEM: {"schema": {}}}}).get("content", {})
    if not content:
        return [*told, *(["has a body"] if body else [])]
    if "*/*" not in content and answer.content_type not in content:
        return [*told, f"is of the type {answer.content_type}, not {', '.join(content)}"]
    if "json" in answer.content_type and "*/*" not in content:
        wrong = validators.wrong(content[answer.content_type]["schema"], json.loads(body, parse_constant=_no_constant))
        told += [f"{status} is not as its schema says: {wrong}"] if wrong else []
    return told


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


async def _send_raw(outcome: HttpOutcome, port: int, mutator: Mutator) -> None:
    data = mutator.input()
    outcome.raw_requests += 1
    began_s = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data + b"\r\n\r\n")
        async with asyncio.timeout(_WAITS_S):
            line = await reader.readline()
        status = line.split(b" ")[1].decode() if line.startswith(b"HTTP/1.") else "closed"
    except TimeoutError:
        status = "waits for more"
    except ConnectionError:
        status = "closed"
    finally:
        writer.close()
    outcome.count(f"bytes: {status}", began_s)
    if status.startswith("5") and status not in ("501", "503", "505"):
        outcome.find(f"bytes are answered with {status}", data.hex())
