from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.web.health import Check, live_view_check
from stockstream.web.live import LiveView
from stockstream.web.routes import install

Client = TestClient[web.Request, web.Application]

FINE = Check("kafka", ok=True)
RECOVERING = Check("tables", ok=False, detail="3 of 12 partitions recovered")
SINK_AWAY = Check("sink", ok=False, detail="ClickHouse does not answer", required=False)


@pytest.mark.parametrize(
    ("checks", "status", "word"),
    [
        ([], 200, "ready"),
        ([FINE], 200, "ready"),
        ([FINE, SINK_AWAY], 200, "degraded"),
        ([FINE, RECOVERING], 503, "unready"),
        ([SINK_AWAY, RECOVERING, FINE], 503, "unready"),
    ],
)
async def test_only_a_required_check_makes_a_worker_unready(
    live: LiveView,
    now_ms: Callable[[], int],
    serve: Callable[[web.Application], Awaitable[Client]],
    checks: list[Check],
    status: int,
    word: str,
) -> None:
    app = web.Application()
    install(
        app, live=live, sink=None, tables=None, checks=[lambda check=check: check for check in checks], now_ms=now_ms
    )  # type: ignore[misc]
    client = await serve(app)
    response = await client.get("/health/ready")
    assert response.status == status
    body: dict[str, Any] = await response.json()
    assert body["status"] == word
    assert body["checks"] == [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in checks]
    assert (await client.get("/health/live")).status == 200


async def test_checks_are_asked_each_time(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> None:
    states = [RECOVERING, FINE]
    app = web.Application()
    install(app, live=live, sink=None, tables=None, checks=[lambda: states.pop(0)], now_ms=now_ms)
    client = await serve(app)
    assert [(await client.get("/health/ready")).status for _ in range(2)] == [503, 200]


async def test_the_live_view_is_required_until_it_has_caught_up(live: LiveView) -> None:
    live.ready = False
    reading = live_view_check(live)
    live.degraded = "Kafka is away"
    away = live_view_check(live)
    assert [(each.ok, each.required) for each in (reading, away)] == [(False, True), (False, True)]
    assert away.detail == "Kafka is away"
    live.ready = True
    stale = live_view_check(live)
    assert (stale.ok, stale.required, stale.detail) == (False, False, "Kafka is away")
    live.degraded = None
    assert live_view_check(live).ok
