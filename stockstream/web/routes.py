"""Where the HTTP side is put onto an aiohttp application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from stockstream.core.trading import Trading
from stockstream.sinks.contract import Sink
from stockstream.tables.gaps import GapLedger
from stockstream.web.candles import Candles
from stockstream.web.docs import Documents
from stockstream.web.gaps import Gaps
from stockstream.web.guard import Guard
from stockstream.web.health import Check, Health
from stockstream.web.keys import ApiKeys
from stockstream.web.latest import LatestPrices
from stockstream.web.live import LiveView
from stockstream.web.metrics import Counted, Gauged, Metrics
from stockstream.web.page import Page
from stockstream.web.problem import problems, set_headers
from stockstream.web.stream import Stream
from stockstream.web.subscriptions import SubscriptionViews
from stockstream.web.tables import TableViews


def install(
    web_app: web.Application,
    *,
    live: LiveView,
    sink: Sink | None,
    tables: TableViews | None,
    subscriptions: SubscriptionViews | None = None,
    gaps: GapLedger | None = None,
    checks: Sequence[Callable[[], Check]],
    now_ms: Callable[[], int],
    metrics: Sequence[Counted | Gauged] = (),
    guard: Guard | None = None,
    trading: Trading | None = None,
) -> None:
    """Add the routes, the problem answers and the common headers to ``web_app``, before its server starts.

    The application may be Faust's ``app.web.web_app``. ``sink`` is None where candles are not stored, ``tables``
    where there are none; ``now_ms`` is the wall clock in epoch ms. ``trading`` tells when windows without trades are
    none to fill in; None: markets never close. Without a ``guard`` everybody may read, and nobody may change anything.
    It stands before every route, those that are Faust's too.
    """
    guard = guard or Guard(ApiKeys(), now_ms=now_ms)
    web_app.middlewares[:0] = [problems, guard.middleware]
    web_app.on_response_prepare.append(set_headers)
    latest, candles, health = LatestPrices(live, now_ms), Candles(live, sink, trading or Trading()), Health(checks)
    stream, documents, page = Stream(live, now_ms), Documents(), Page()
    web_app.add_routes(
        [
            web.get("/latest", latest.list_all),
            web.get("/latest/{symbol}", latest.get),
            web.get("/candles/{symbol}", candles.get),
            web.get("/health/live", health.live),
            web.get("/health/ready", health.ready),
            web.get("/metrics", Metrics(metrics).get),
            web.get("/stream", stream.get, allow_head=False),  # an answer without a body would never end
            web.get("/openapi.json", documents.openapi),
            web.get("/docs", documents.docs),
            web.get("/", page.index),
            web.get("/static/{path:.+}", page.static),
        ]
    )
    if subscriptions is not None:
        web_app.add_routes(
            [
                web.get("/subscriptions", subscriptions.list_all),
                web.get("/subscriptions/{symbol}", subscriptions.get),
                web.put("/subscriptions/{symbol}", subscriptions.put),
                web.delete("/subscriptions/{symbol}", subscriptions.delete),
            ]
        )
    if gaps is not None:
        web_app.router.add_get("/gaps", Gaps(gaps).get)
    if tables is not None:
        web_app.router.add_get("/tables/{name}/{symbol}", tables.get)

    async def end_streams(_web_app: web.Application) -> None:
        live.hub.close()  # else the server waits for its open handlers, up to a minute

    web_app.on_shutdown.append(end_streams)
