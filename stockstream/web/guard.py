"""Who may do what over HTTP, and how much of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from stockstream.web.keys import READ, SUBSCRIPTIONS_WRITE, ApiKey, ApiKeys
from stockstream.web.limits import Full, Limits, Networks, Rate, Slots, client_of
from stockstream.web.problem import Handler, problem
from stockstream.web.times import rfc3339

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/", "/static/{path}", "/docs", "/openapi.json", "/health/live", "/health/ready"})
"""What anybody may read, wherever the server listens: pages without data, and what supervisors ask."""
CREDENTIALS = ("Authorization", "X-API-Key")
REASONS = ("no key", "wrong key", "expired key", "no scope", "no keys", "rate", "connections", "url", "body")

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_READINESS = "/health/ready"
_HEALTH = ("/health/live", _READINESS)
_STREAM = "/stream"
_RETRY_AFTER_S = 5
_MAKE_ONE = "stockstream api-key NAME --scopes {scope} makes one"

_may_read: web.RequestKey[bool] = web.RequestKey("may read", bool)
_key: web.RequestKey[ApiKey] = web.RequestKey("key", ApiKey)


@dataclass(eq=False)
class _Refusal(Exception):
    """An answer instead of the one that was asked for; ``reason`` is one of `REASONS`."""

    reason: str
    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def may_read(request: web.Request) -> bool:
    """Whether who asks may see what reads show, of a request that anybody may make."""
    return bool(request.get(_may_read, True))


def credentials_of(request: web.Request) -> dict[str, str]:
    """The headers with the key that let the request in; none where it needed no key."""
    if request.get(_key) is None:
        return {}
    return {name: request.headers[name] for name in CREDENTIALS if name in request.headers}


class Guard:
    """A middleware that lets a request through, or answers 401, 403, 411, 413, 414, 429 or 503 in its place.

    Whatever changes something needs a key with the scope ``subscriptions:write``. Everything else needs one with
    ``read``, unless ``reads_are_open`` or it is one of `OPEN_PATHS`. ``proxies`` are believed about who asks.
    ``refused`` counts by reason. ``now_ms`` is the wall clock in epoch ms, ``steady_s`` a steady one.
    """

    def __init__(
        self,
        keys: ApiKeys,
        *,
        reads_are_open: bool = True,
        limits: Limits | None = None,
        proxies: Networks = (),
        now_ms: Callable[[], int],
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._keys, self._reads_are_open = keys, reads_are_open
        self._limits = limits = limits or Limits()
        self._proxies, self._now_ms = proxies, now_ms
        self._streams = Slots(limits.max_streams, limits.max_streams_per_client)
        self._requests = Slots(limits.max_requests, limits.max_requests_per_client)
        self._changes = Rate(limits.changes_per_minute, steady_s)
        self._failures = Rate(limits.failed_keys_per_minute, steady_s)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in place of ``handler``, or pass its answer on once the client has taken it."""
        client, path = client_of(request, self._proxies), _path(request)
        try:
            self._check_size(request)
            if path is not None:
                self._check_right(request, path, client)
            if path in _HEALTH:
                return await handler(request)  # to be had however busy the rest is
            with (self._streams if path == _STREAM else self._requests).place(client):
                response = await handler(request)
                if not isinstance(response, web.FileResponse):  # it is sent from the disk, and cannot be sent here
                    await self._send(request, response)
                return response
        except Full as full:
            status, whose = (429, "from your address ") if full.is_own else (503, "")
            detail = f"{full.count} requests {whose}are open already; try again in {_RETRY_AFTER_S} s"
            refusal = _Refusal("connections", status, detail, {"Retry-After": str(_RETRY_AFTER_S)})
        except _Refusal as error:
            refusal = error
        self.refused[refusal.reason] += 1
        response = problem(request, refusal.status, refusal.detail, headers=refusal.headers)
        if refusal.reason == "body":
            response.force_close()  # else all of it would be read
        return response

    def _check_size(self, request: web.Request) -> None:
        limits = self._limits
        if len(request.raw_path) > limits.max_url_bytes:
            raise _Refusal("url", 414, f"the path and query may have {limits.max_url_bytes} bytes")
        if not request.body_exists:
            return
        if request.content_length is None:
            raise _Refusal("body", 411, "say how long the body is, by Content-Length")
        if request.content_length > limits.max_body_bytes:
            raise _Refusal("body", 413, f"a body may have {limits.max_body_bytes} bytes")

    def _check_right(self, request: web.Request, path: str, client: str) -> None:
        if request.method not in _SAFE_METHODS:
            key = request[_key] = self._admit(request, SUBSCRIPTIONS_WRITE, client)
            self._check_rate(self._changes, client, f"{self._limits.changes_per_minute} changes")
            self._changes.count(client)
            logger.info("%s %s by the API key %s", request.method, request.rel_url.raw_path, key.id)
        elif not self._reads_are_open and path not in OPEN_PATHS:
            request[_key] = self._admit(request, READ, client)
        elif not self._reads_are_open and path == _READINESS:
            request[_may_read] = self._is_reader(request, client)

    def _is_reader(self, request: web.Request, client: str) -> bool:
        if not _secret_of(request):
            return False
        try:
            self._admit(request, READ, client)
        except _Refusal as refusal:
            self.refused[refusal.reason] += 1
            return False
        return True

    def _admit(self, request: web.Request, scope: str, client: str) -> ApiKey:
        """The key that came with the request and has the scope."""
        if not self._keys.allow(scope):
            raise _Refusal(
                "no keys",
                403,
                f"this worker has no API key with the scope {scope}: {_MAKE_ONE.format(scope=scope)} for the file that "
                "STOCKSTREAM_API_KEYS_FILE names"
                + ("; STOCKSTREAM_READS_OPEN=true opens reads to all" if scope == READ else ""),
            )
        secret = _secret_of(request)
        if not secret:
            detail = f"this needs an API key with the scope {scope}: send it as 'Authorization: Bearer …'"
            raise _Refusal("no key", 401, detail, _challenge(scope=scope))
        self._check_rate(self._failures, client, f"{self._limits.failed_keys_per_minute} wrong keys")
        key = self._keys.find(secret)
        if key is None or (key.expires_ms is not None and key.expires_ms <= self._now_ms()):
            self._failures.count(client)
            raise self._unknown(client, key, scope)
        if scope not in key.scopes:
            detail = (
                f"this needs the scope {scope}, and the API key {key.id} has {', '.join(sorted(key.scopes))} only: "
                + _MAKE_ONE.format(scope=scope)
            )
            raise _Refusal("no scope", 403, detail, _challenge(error="insufficient_scope", scope=scope))
        return key

    def _unknown(self, client: str, key: ApiKey | None, scope: str) -> _Refusal:
        challenge = _challenge(error="invalid_token", scope=scope)
        if key is None or key.expires_ms is None:
            logger.warning("%s sent an API key that is none", client)
            detail = f"the API key is not known here: {_MAKE_ONE.format(scope=scope)}"
            return _Refusal("wrong key", 401, detail, challenge)
        logger.warning("%s sent the API key %s, which has expired", client, key.id)
        detail = f"the API key {key.id} expired at {rfc3339(key.expires_ms)}: {_MAKE_ONE.format(scope=scope)}"
        return _Refusal("expired key", 401, detail, challenge)

    def _check_rate(self, rate: Rate, client: str, what: str) -> None:
        wait_s = math.ceil(rate.wait_s(client))
        if wait_s:
            logger.warning("%s has sent %s within a minute: it has to wait", client, what)
            detail = f"{what} a minute are the most from one address; try again in {wait_s} s"
            raise _Refusal("rate", 429, detail, {"Retry-After": str(wait_s)})

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send all of it while its place is held; one that does not take it in time is cut off."""
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            logger.warning("%s does not take its answer for %g s: cut off", request.remote, self._limits.send_timeout_s)
            if request.transport is not None:
                request.transport.abort()


def _path(request: web.Request) -> str | None:
    """The route's path, its parameters in braces; None where there is no such route or method."""
    if request.match_info.http_exception is not None:
        return None
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical


def _secret_of(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return (token if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")).strip()


def _challenge(**told: str) -> dict[str, str]:
    """RFC 6750, section 3."""
    return {
        "WWW-Authenticate": ", ".join(['Bearer realm="stockstream"', *(f'{name}="{of}"' for name, of in told.items())])
    }
