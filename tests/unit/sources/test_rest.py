from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from scripted import Time

from stockstream.errors import RequestFailed
from stockstream.sources.rest import RestClient

_hosts = itertools.count()


class Venue:
    """Answers as a test says, under a clock that only the test moves."""

    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self.time, self.answer = Time(), answer
        self.asked_s: list[float] = []
        self.url = f"http://venue-{next(_hosts)}"

    def client(self) -> RestClient:
        return RestClient(
            self.url,
            "Venue",
            weight_per_minute=100,
            used_header="X-Used",
            steady_s=self.time.steady_s,
            sleep=self.time.sleep,
            transport=httpx.MockTransport(self._handle),
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked_s.append(self.time.now_s)
        return self.answer()


async def failure(client: RestClient) -> RequestFailed:
    with pytest.raises(RequestFailed) as failed:
        await client.get("/p", {}, 1)
    return failed.value


async def test_requests_stay_within_a_share_of_the_minutes_weight() -> None:
    venue = Venue(lambda: httpx.Response(200, json=[]))
    first, second = venue.client(), venue.client()
    tasks = [asyncio.create_task((first, second)[n % 2].get("/p", {}, 20)) for n in range(10)]
    await venue.time.pass_(200)
    assert await asyncio.gather(*tasks) == [[]] * 10
    assert venue.asked_s == [0.0] * 4 + [60.0] * 4 + [120.0] * 2


async def test_what_others_have_used_counts_too() -> None:
    venue = Venue(lambda: httpx.Response(200, json={}, headers={"X-Used": "75"}))
    client = venue.client()
    await client.get("/p", {}, 1)
    task = asyncio.create_task(client.get("/p", {}, 10))
    await venue.time.pass_(59)
    assert not task.done()
    await venue.time.pass_(2)
    assert await task == {}


async def test_one_that_is_heavier_than_the_share_is_sent_all_the_same() -> None:
    venue = Venue(lambda: httpx.Response(200, json=1))
    assert await venue.client().get("/p", {}, 90) == 1


@pytest.mark.parametrize(
    ("answer", "words", "is_fatal", "retry_after_s"),
    [
        (httpx.Response(429, headers={"Retry-After": "7"}), "HTTP 429", False, 7.0),
        (httpx.Response(429), "HTTP 429", False, 60.0),
        (httpx.Response(418, headers={"Retry-After": "300"}), "has banned this address for 300 s", True, 300.0),
    ],
)
async def test_a_venue_that_wants_to_be_left_alone_is_so_by_all_clients(
    answer: httpx.Response, words: str, is_fatal: bool, retry_after_s: float
) -> None:
    venue = Venue(lambda: answer)
    error = await failure(venue.client())
    assert words in str(error)
    assert (error.is_fatal, error.retry_after_s) == (is_fatal, retry_after_s)
    await venue.time.pass_(retry_after_s - 1)
    again = await failure(venue.client())
    assert (str(again), again.retry_after_s) == (str(error), 1.0)
    assert len(venue.asked_s) == 1
    await venue.time.pass_(1)
    await failure(venue.client())
    assert len(venue.asked_s) == 2


@pytest.mark.parametrize(
    ("status", "content", "words", "is_fatal", "code"),
    [
        (403, b"<html>", "firewall refuses this address", True, None),
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', "Invalid symbol. (-1121)", True, -1121),
        (400, b'{"code":"x","msg":1}', "HTTP 400", True, None),
        (404, b"[]", "HTTP 404", True, None),
        (503, b"", "HTTP 503", False, None),
        (200, b"<html>", "with no JSON", False, None),
    ],
)
async def test_what_can_be_mended_only_by_a_human_is_told_apart(
    status: int, content: bytes, words: str, is_fatal: bool, code: Any
) -> None:
    error = await failure(Venue(lambda: httpx.Response(status, content=content)).client())
    assert words in str(error)
    assert (error.is_fatal, error.code) == (is_fatal, code)


async def test_a_venue_that_does_not_answer_is_one_line() -> None:
    def refuse() -> httpx.Response:
        raise httpx.ConnectError("no way there")

    error = await failure(Venue(refuse).client())
    assert (str(error), error.is_fatal) == ("Venue does not answer (no way there)", False)
