"""What lets us in goes to the venue, and shows nowhere on the way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from stockstream.models import Tick
from stockstream.sources.finnhub.fake import FakeFinnhub, Market
from stockstream.sources.finnhub.feed import FinnhubFeed
from stockstream.sources.opening import open_websocket
from stockstream.sources.runner import ConnectionRunner, Timing
from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.testing.wait import wait_until_async

KEY = "gl4ss-k3y"


def feed(url: str) -> FinnhubFeed:
    return FinnhubFeed(url, finnhub_api_token=SecretStr(KEY))


async def test_no_redirect_is_followed_with_a_key_and_others_are() -> None:
    asked: list[str] = []

    async def elsewhere(socket: Any) -> None:
        asked.append(socket.request.path)

    async with serve(elsewhere, "127.0.0.1", 0) as target:
        port = next(iter(target.sockets)).getsockname()[1]

        def redirect(socket: Any, request: Any) -> Any:
            response = socket.respond(302, "over there\n")
            response.headers["Location"] = f"ws://127.0.0.1:{port}{request.path}"
            return response

        async with serve(elsewhere, "127.0.0.1", 0, process_request=redirect) as venue:
            url = f"ws://127.0.0.1:{next(iter(venue.sockets)).getsockname()[1]}/"
            with pytest.raises(InvalidStatus):
                await open_websocket(feed(url), 5, 1)
            assert asked == []
            opened = await open_websocket(YahooFeed(url), 5, 1)
            await opened.close()
            assert asked == ["/"]


async def test_the_key_is_in_no_line_of_the_log_however_much_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING, "websockets.server")  # the venue's own
    caplog.set_level(logging.DEBUG)  # last, as it sets the level of what is kept too
    got: list[Tick] = []

    async def take(ticks: Sequence[Tick]) -> None:
        got.extend(ticks)

    async with FakeFinnhub(Market(["AAPL"]), lambda: 1_700_000_000_000, token=KEY) as fake:
        runner = ConnectionRunner(
            feed(fake.url),
            ["FINNHUB:AAPL"],
            take,
            now_ms=lambda: 1_700_000_000_000,
            timing=Timing(backoff_base_s=0.01, backoff_cap_s=0.02),
        )
        task = asyncio.create_task(runner.run())
        await wait_until_async(lambda: len(got) > 3, 20, "trades")
        await fake.send_rubbish(
            [json.dumps({"type": "error", "msg": f"Invalid API key: {KEY}"}), KEY, f'{{"{KEY}":1}}']
        )
        await wait_until_async(lambda: runner.status.bad_frames == 2 and runner.status.refused != "", 20, "rubbish")
        for status in (503, 401):
            fake.refuse(status)
            await fake.close()
            await wait_until_async(lambda code=status: f"HTTP {code}" in runner.status.detail, 20, "a refusal")
            shown = f"{runner.status!r} {runner.feed!r} {vars(runner.feed)!r}"
            assert KEY not in shown
        await runner.stop()
        await task
    out, err = capfd.readouterr()
    assert "FINNHUB_API_TOKEN" in caplog.text
    assert KEY not in caplog.text + out + err + repr(got)


async def test_without_a_key_nothing_is_connected_and_the_status_says_what_to_do() -> None:
    async def take(ticks: Sequence[Tick]) -> None:
        raise AssertionError(ticks)

    async with FakeFinnhub(Market(["AAPL"]), lambda: 1_700_000_000_000, token=KEY) as fake:
        runner = ConnectionRunner(FinnhubFeed(fake.url), ["FINNHUB:AAPL"], take, now_ms=lambda: 1_700_000_000_000)
        task = asyncio.create_task(runner.run())
        await wait_until_async(lambda: runner.status.state == "failed", 20, "the failure")
        assert "set FINNHUB_API_TOKEN" in runner.status.detail
        assert (fake.accepted, fake.refused) == (0, 0)
        await runner.stop()
        await task
