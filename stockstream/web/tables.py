"""``GET /tables/{name}/{symbol}``: a table's rows as their owner holds them, asked of that worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from stockstream.broker.transport import owner_url
from stockstream.errors import InvalidInput, PartitionMoved
from stockstream.models import Candle, Latest, check_symbol
from stockstream.web.candles import candle_json
from stockstream.web.guard import credentials_of
from stockstream.web.latest import latest_json
from stockstream.web.problem import problem

_FORWARD_TIMEOUT_S = 5.0
_RETRY_AFTER_S = 1
_ROWS = 500


class RowReader(Protocol):
    """What the owner of a partition can tell of a symbol."""

    def candles(self, interval: str, symbol: str, limit: int) -> list[Candle]:
        """The newest rows of a symbol, as candles, ascending; `PartitionMoved` if they are not here."""

    def latest(self, symbol: str) -> bytes | None:
        """The stored price of a symbol as it is published; `PartitionMoved` if it is not here."""


class LatestDecoder(Protocol):
    """Decodes a published price."""

    async def prepare(self, values: Sequence[bytes | None]) -> None:
        """Fetch what `decode` needs."""

    def decode(self, value: bytes | None) -> Latest:
        """Return the price."""


class TableViews:
    """Answers for the symbols of this worker's partitions and forwards the others to their owner.

    The owner is that of the tick topic's partition: Faust's own table routing hashes the table's encoded key, which is
    another partition. While a partition moves the answer is 503 with ``Retry-After``.
    """

    def __init__(
        self,
        app: Any,
        topic: Any,
        rows: RowReader,
        latest_decoder: LatestDecoder,
        tables: Sequence[str],
        now_ms: Callable[[], int],
    ) -> None:
        """``topic`` is any of the tick topics: all have the same number of partitions, and so the same owners."""
        self._app = app
        self._topic = topic
        self._rows = rows
        self._latest_decoder = latest_decoder
        self._tables = tuple(tables)
        self._now_ms = now_ms

    async def get(self, request: web.Request) -> web.Response:
        """The rows of one symbol in one table."""
        name, symbol = request.match_info["name"], check_symbol(request.match_info["symbol"])
        if name not in self._tables:
            raise InvalidInput(f"{name!r} is no table: use one of {', '.join(self._tables)}")
        owner = owner_url(self._app, self._topic.get_topic_name(), symbol.encode())
        if owner is None:
            return _moving(request, "its partition is owned by nobody yet")
        if owner.rstrip("/") != str(self._app.conf.canonical_url).rstrip("/"):
            return await self._forward(URL(owner), request)
        try:
            return await self._here(request, name, symbol)
        except PartitionMoved as error:
            return _moving(request, str(error))

    async def _here(self, request: web.Request, name: str, symbol: str) -> web.Response:
        rows: list[dict[str, Any]]
        if name == "latest":
            value = self._rows.latest(symbol)
            if value is None:
                return problem(request, 404, f"table {name} has no row of {symbol}")
            await self._latest_decoder.prepare([value])
            rows = [latest_json(self._latest_decoder.decode(value), self._now_ms())]
        else:
            rows = [candle_json(candle) for candle in self._rows.candles(name.rpartition("_")[2], symbol, _ROWS)]
            if not rows:
                return problem(request, 404, f"table {name} has no row of {symbol}")
        return web.json_response({"table": name, "symbol": symbol, "rows": rows})

    async def _forward(self, owner: URL, request: web.Request) -> web.Response:
        if "X-Stockstream-Forwarded" in request.headers:
            return _moving(request, "the workers do not agree on its owner yet")
        url = owner.join(request.rel_url)
        timeout = aiohttp.ClientTimeout(total=_FORWARD_TIMEOUT_S)
        try:
            headers = {"X-Stockstream-Forwarded": "1", **credentials_of(request)}
            async with self._app.http_client.get(
                url, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                headers = {key: answer.headers[key] for key in ("Retry-After",) if key in answer.headers}
                return web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.content_type, headers=headers
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            return _moving(request, f"its owner {owner} does not answer ({type(error).__name__})")


def _moving(request: web.Request, why: str) -> web.Response:
    return problem(request, 503, why, headers={"Retry-After": str(_RETRY_AFTER_S)})
