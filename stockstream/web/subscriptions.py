"""``/subscriptions``: what is watched, and changing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from stockstream.models import Subscription, check_symbol
from stockstream.tables.subscriptions import Subscriptions
from stockstream.web.problem import problem
from stockstream.web.times import stamp


class SubscriptionViews:
    """Answers to whoever asks: who may is decided before (`web.guard`)."""

    def __init__(self, subscriptions: Subscriptions, source_of: Callable[[str], str]) -> None:
        """``source_of`` tells which source a symbol belongs to."""
        self._subscriptions = subscriptions
        self._source_of = source_of

    async def list_all(self, _request: web.Request) -> web.Response:
        """Every subscription, by symbol."""
        watched = self._subscriptions.watched
        return web.json_response({"subscriptions": [_json(watched[symbol]) for symbol in sorted(watched)]})

    async def get(self, request: web.Request) -> web.Response:
        """One subscription."""
        symbol = check_symbol(request.match_info["symbol"])
        subscription = self._subscriptions.watched.get(symbol)
        if subscription is None:
            return problem(request, 404, f"{symbol} is not watched")
        return web.json_response(_json(subscription))

    async def put(self, request: web.Request) -> web.Response:
        """Watch a symbol: 201 if it was not watched before."""
        symbol = check_symbol(request.match_info["symbol"])
        known = symbol in self._subscriptions.watched
        (subscription,) = await self._subscriptions.add([symbol], self._source_of(symbol), "api")
        return web.json_response(_json(subscription), status=200 if known else 201)

    async def delete(self, request: web.Request) -> web.Response:
        """Watch a symbol no longer."""
        symbol = check_symbol(request.match_info["symbol"])
        if not await self._subscriptions.remove(symbol):
            return problem(request, 404, f"{symbol} is not watched")
        return web.Response(status=204)


def _json(subscription: Subscription) -> dict[str, Any]:
    return {
        "symbol": subscription.symbol,
        "source": subscription.source,
        "added_by": subscription.added_by,
        **stamp("since", subscription.since),
    }
