"""``GET /health/live`` and ``GET /health/ready``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from stockstream.web.guard import may_read
from stockstream.web.live import LiveView


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong; a worker is unready while a ``required`` one is not ok, else only degraded."""

    name: str
    ok: bool
    detail: str = ""
    required: bool = True


class Health:
    """Answers from ``checks``, which only read state and so must not wait."""

    def __init__(self, checks: Sequence[Callable[[], Check]]) -> None:
        self._checks = tuple(checks)

    async def live(self, _request: web.Request) -> web.Response:
        """200 as long as the event loop runs."""
        return web.json_response({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """200 ``ready`` or ``degraded``, or 503 ``unready``; every check with its state and what is wrong.

        The latter, which names servers, only for who may read.
        """
        checks = [check() for check in self._checks]
        unready = any(check.required and not check.ok for check in checks)
        status = "unready" if unready else "ready" if all(check.ok for check in checks) else "degraded"
        return web.json_response(
            {
                "status": status,
                "checks": [
                    {"name": check.name, "ok": check.ok, "detail": check.detail if may_read(request) else ""}
                    for check in checks
                ],
            },
            status=503 if unready else 200,
        )


def live_view_check(live: LiveView) -> Check:
    """Not ready before the live view has caught up; a later outage leaves it answering, only with older data."""
    if not live.ready:
        return Check("live view", ok=False, detail=live.degraded or "reading what was published before the start")
    return Check("live view", ok=live.degraded is None, detail=live.degraded or "", required=False)
