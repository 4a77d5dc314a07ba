"""The live page on a real worker, which is restarted under it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect
from webpage import legend_shows, row

from stockstream.models import Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.process import HOST
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System

pytestmark = pytest.mark.asyncio(loop_scope="session")

SYMBOL = "BINANCE:BTCUSDT"


def trade(number: int, price: float) -> Tick:
    now_ms = int(time.time() * 1000)
    return Tick(SYMBOL, now_ms, price, 0.5, trade_id=number, producer_timestamp=now_ms, source="binance")


async def test_a_traded_candle_appears_and_the_page_outlives_a_restart_of_the_worker(
    kafka: KafkaCluster,
    registry: RegistryServer,
    clickhouse: ClickHouseFacade,
    open_page: Callable[..., Awaitable[Any]],
) -> None:
    with System(kafka.bootstrap, registry.url, clickhouse.url) as system:
        worker = await asyncio.to_thread(system.start)
        page = (await open_page(f"http://{HOST}:{worker.port}/")).page
        await expect(page.locator("#empty")).to_have_text("Waiting for the first price")
        await asyncio.to_thread(system.produce, [trade(1, 64_000.5), trade(2, 64_010.25)])
        await expect(row(page, SYMBOL)).to_contain_text("64,010.25")
        await expect(page.locator("#symbol")).to_have_text(SYMBOL)
        await legend_shows(page, "64,010.25")

        await asyncio.to_thread(worker.stop)  # kills it where an open stream holds it up
        assert worker.exit_code == 0
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
        await asyncio.to_thread(system.produce, [trade(3, 63_990.75)])
        await asyncio.to_thread(system.start, wait=False)
        await expect(page.locator("#connection")).to_have_text("Live", timeout=60_000)
        await expect(row(page, SYMBOL)).to_contain_text("63,990.75", timeout=60_000)
        await legend_shows(page, "63,990.75")
