from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from stockstream.models.gap import Gap
from stockstream.web.live import LiveView
from stockstream.web.routes import install
from stockstream.web.times import rfc3339

NOW_MS = 1_700_000_400_000
Client = TestClient[web.Request, web.Application]
HOLES = [
    Gap("AAPL", "yahoo", NOW_MS, NOW_MS + 2500, "silent", 1, NOW_MS + 3000, "unrepairable", "no past"),
    Gap(
        "BINANCE:BTCUSDT", "binance", NOW_MS + 5000, NOW_MS + 6000, "closed 1001, ids 7–9 missing", 2, NOW_MS + 6500,
        "repaired", "3 trades", NOW_MS + 9000,
    ),
    Gap("BINANCE:BTCUSDT", "binance", NOW_MS + 8000, NOW_MS + 8500, "ids 17–20 missing", 3, NOW_MS + 8600),
    Gap("BINANCE:BTCUSDT", "binance", NOW_MS + 9000, NOW_MS + 9250, "ids 30–31 missing", 3, NOW_MS + 9600),
]  # fmt: skip


class Ledger:
    def __init__(self) -> None:
        self.follower = SimpleNamespace(ready=True)

    def gaps(self, symbol: str | None) -> list[Gap]:
        return [gap for gap in HOLES if symbol in (None, gap.symbol)]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def client(
    live: LiveView,
    ledger: Ledger,
    now_ms: Callable[[], int],
    serve: Callable[[web.Application], Awaitable[Client]],
) -> Client:
    app = web.Application()
    install(app, live=live, sink=None, tables=None, gaps=ledger, checks=[], now_ms=now_ms)  # type: ignore[arg-type]
    return await serve(app)


async def answer(client: Client, query: str = "") -> Any:
    response = await client.get(f"/gaps{query}")
    assert response.status == 200, await response.text()
    return await response.json()


async def begins(client: Client, query: str) -> list[int]:
    return [gap["from_ms"] - NOW_MS for gap in (await answer(client, query))["gaps"]]


async def test_a_hole_as_it_is_answered(client: Client) -> None:
    assert (await answer(client, "?state=repaired"))["gaps"] == [
        {
            "symbol": "BINANCE:BTCUSDT",
            "source": "binance",
            "from": rfc3339(NOW_MS + 5000),
            "from_ms": NOW_MS + 5000,
            "to": rfc3339(NOW_MS + 6000),
            "to_ms": NOW_MS + 6000,
            "cause": "closed 1001, ids 7–9 missing",
            "state": "repaired",
            "reason": "3 trades",
            "told_at": rfc3339(NOW_MS + 6500),
            "told_at_ms": NOW_MS + 6500,
            "repaired_at": rfc3339(NOW_MS + 9000),
            "repaired_at_ms": NOW_MS + 9000,
        }
    ]


async def test_holes_are_chosen_by_symbol_time_state_and_number(client: Client) -> None:
    assert await begins(client, "") == [0, 5000, 8000, 9000]
    assert await begins(client, "?symbol=AAPL") == [0]
    assert await begins(client, "?symbol=MSFT") == []
    assert await begins(client, f"?from={NOW_MS + 2501}&to={rfc3339(NOW_MS + 9000)}") == [5000, 8000]
    assert await begins(client, f"?from={NOW_MS + 2500}&to={NOW_MS + 5000}") == [0]
    assert await begins(client, "?state=open") == [8000, 9000]
    assert await begins(client, "?limit=1") == [9000]


async def test_the_summary_counts_all_by_state_and_cause(client: Client) -> None:
    assert (await answer(client, "?limit=1"))["summary"] == [
        {"state": "open", "cause": "ids missing", "count": 2, "seconds": 0.75},
        {"state": "repaired", "cause": "closed 1001, ids missing", "count": 1, "seconds": 1.0},
        {"state": "unrepairable", "cause": "silent", "count": 1, "seconds": 2.5},
    ]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?state=lost", "state='lost' is unknown"),
        ("?from=yesterday", "from='yesterday' is no time"),
        ("?from=9&to=9", "from must lie before to"),
        ("?limit=0", "limit='0' is out of range"),
        ("?start=1", "'start' is no parameter: use symbol, from, to, state, limit"),
        ("?symbol=a%20b", "a b"),
    ],
)
async def test_a_wrong_parameter_is_told(client: Client, query: str, says: str) -> None:
    response = await client.get(f"/gaps{query}")
    assert (response.status, response.content_type) == (400, "application/problem+json")
    assert says in (await response.json())["detail"]


async def test_a_worker_that_has_not_read_the_ledger_yet_says_so(client: Client, ledger: Ledger) -> None:
    ledger.follower.ready = False
    response = await client.get("/gaps")
    assert (response.status, response.headers["Retry-After"]) == (503, "2")
