"""Errors of the HTTP side as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from stockstream.errors import (
    BrokerUnreachable,
    InvalidInput,
    InvalidInterval,
    InvalidSymbol,
    PartitionMoved,
    RegistryUnreachable,
    SinkUnreachable,
    StockstreamError,
    Unreachable,
)

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_S = 5
CONTENT_TYPE = "application/problem+json"

_started: web.RequestKey[bool] = web.RequestKey("started", bool)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one error class is told: a stable ``type``, its title, and whether ``str(error)`` is for the client."""

    status: int
    slug: str
    title: str
    says_why: bool = False


_KINDS: dict[type[StockstreamError], _Kind] = {
    InvalidSymbol: _Kind(400, "invalid-symbol", "Not a symbol", says_why=True),
    InvalidInterval: _Kind(400, "invalid-interval", "Not an interval", says_why=True),
    InvalidInput: _Kind(400, "invalid-request", "The request cannot be read", says_why=True),
    SinkUnreachable: _Kind(503, "storage-unreachable", "The candle storage does not answer"),
    BrokerUnreachable: _Kind(503, "broker-unreachable", "Kafka does not answer"),
    RegistryUnreachable: _Kind(503, "registry-unreachable", "The schema registry does not answer"),
    Unreachable: _Kind(503, "unreachable", "A server that is needed does not answer"),
    PartitionMoved: _Kind(503, "partition-moved", "Another worker is taking over this symbol"),
}


def problem(
    request: web.Request,
    status: int,
    detail: str | None = None,
    *,
    kind: str = "about:blank",
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error response: type, title, status, instance (the path asked for) and, where there is more to say, detail."""
    body: dict[str, str | int] = {
        "type": kind,
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "instance": request.rel_url.raw_path,
    }
    if detail is not None:
        body["detail"] = detail
    return web.Response(status=status, body=json.dumps(body).encode(), content_type=CONTENT_TYPE, headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error of ``handler`` with a problem; what was not raised on purpose is logged and says no more.

    Once a streamed response has begun the error is passed on, since nothing else can be sent then.
    """
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _of_http(request, error)
    except StockstreamError as error:
        if request.get(_started):
            raise
        return _of_ours(request, error)
    except Exception as error:  # the edge: whatever a handler did, the client gets an answer
        if request.get(_started) or isinstance(error, ConnectionError):
            raise
        logger.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return problem(request, 500)


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: headers that every answer carries, unless its handler chose others."""
    request[_started] = True
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    kept = {name: value for name, value in error.headers.items() if not name.lower().startswith("content-")}
    said = error.text if error.text != f"{error.status}: {error.reason}" else None
    return problem(request, error.status, said, headers=kept)


def _of_ours(request: web.Request, error: StockstreamError) -> web.Response:
    kind = next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), None)
    if kind is None:
        logger.error("%s %s failed: %s", request.method, request.rel_url.raw_path, error, exc_info=error)
        return problem(request, 500)
    headers = {}
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
        logger.warning("%s %s: %s", request.method, request.rel_url.raw_path, error)
    return problem(
        request,
        kind.status,
        str(error) if kind.says_why else f"{kind.title}; try again in {RETRY_AFTER_S} s.",
        kind=f"urn:stockstream:problem:{kind.slug}",
        title=kind.title,
        headers=headers,
    )
