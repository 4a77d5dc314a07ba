from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from stockstream.web.live import LiveView
from stockstream.web.metrics import Counted, Gauged
from stockstream.web.routes import install

Client = TestClient[web.Request, web.Application]


async def test_counters_are_told_as_prometheus_reads_them(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> None:
    counts = Counter({"late": 2, 'odd "one"\n': 1})
    app = web.Application()
    families = [Counted("dead_letters", "By reason.", "reason", lambda: counts)]
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms, metrics=families)
    client = await serve(app)

    async def told() -> dict[str, float]:
        response = await client.get("/metrics")
        assert (response.status, response.content_type) == (200, "text/plain")
        (family,) = text_string_to_metric_families(await response.text())
        assert (family.type, family.documentation) == ("counter", "By reason.")
        return {s.labels["reason"]: s.value for s in family.samples if s.name == "stockstream_dead_letters_total"}

    assert await told() == {"late": 2, 'odd "one"\n': 1}
    counts["late"] += 1
    assert (await told())["late"] == 3


async def test_gauges_are_told_by_all_their_labels(
    live: LiveView, now_ms: Callable[[], int], serve: Callable[[web.Application], Awaitable[Client]]
) -> None:
    gaps = {("open", "closed 1001"): (2, 2.5), ("repaired", "ids missing"): (1, 0.5)}
    app = web.Application()
    families = [Gauged({"gaps": "Holes.", "gaps_seconds": "All of them."}, ("state", "cause"), lambda: gaps)]
    install(app, live=live, sink=None, tables=None, checks=[], now_ms=now_ms, metrics=families)
    response = await (await serve(app)).get("/metrics")
    found = list(text_string_to_metric_families(await response.text()))
    assert [(family.type, family.name) for family in found] == [
        ("gauge", "stockstream_gaps"),
        ("gauge", "stockstream_gaps_seconds"),
    ]
    for place, family in enumerate(found):
        told = {(s.labels["state"], s.labels["cause"]): s.value for s in family.samples}
        assert told == {at: numbers[place] for at, numbers in gaps.items()}
