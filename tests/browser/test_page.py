"""The live page in a real browser, on a server whose data is put in by hand."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from webpage import Site, candle, latest, legend_shows, now_ms, put_market, row

from stockstream.core.interval import MINUTE_MS
from stockstream.errors import SinkUnreachable
from stockstream.testing.wait import wait_until_async
from stockstream.web.guard import Guard
from stockstream.web.keys import READ, ApiKeys, make_key
from stockstream.web.limits import Slots

pytestmark = pytest.mark.asyncio(loop_scope="session")

Open = Callable[..., Awaitable[Any]]

SYMBOL = "BTC-USD"
START_MS = now_ms() // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS
ADDRESS = "#BTC-USD|1m|regular"


async def drawing(page: Page) -> str:
    """What is on the chart's canvases, and nothing that lies over them."""
    return str(await page.evaluate("[...document.querySelectorAll('#chart canvas')].map((c) => c.toDataURL()).join()"))


async def is_redrawn(page: Page, before: str) -> None:
    async def differs() -> bool:
        return await drawing(page) != before

    await wait_until_async(differs, 15, "the chart to be drawn anew")


@pytest_asyncio.fixture(loop_scope="session")
async def history(site: Site) -> Site:
    """Six closed candles in the sink, the last of them in the live view too, and two prices."""
    candles = [candle(SYMBOL, START_MS + n * MINUTE_MS, close=11.0 + n) for n in range(6)]
    await site.sink.insert_candles(candles)
    site.put(candles[-1], latest(SYMBOL, 16.0), latest("AAPL", 228.25, change_percent=-1.5, change=-3.4))
    return site


async def test_it_loads_from_its_own_host_alone_and_without_errors(history: Site, open_page: Open) -> None:
    seen = await open_page(history.url)
    page = seen.page
    await expect(page.locator("#connection")).to_have_text("Live")
    await row(page, SYMBOL).click()
    await legend_shows(page, "closed", "16.00")
    await expect(page.locator("#tv-attr-logo")).to_be_visible()
    await page.goto(f"{history.url}docs")
    await expect(page.get_by_role("heading", name="/stream")).to_be_visible()
    assert {urlsplit(url).netloc for url in seen.requests} == {urlsplit(history.url).netloc}
    assert seen.errors == []


async def test_prices_move_in_the_watch_list(history: Site, open_page: Open) -> None:
    page = (await open_page(history.url)).page
    await expect(row(page, "AAPL")).to_contain_text("228.25")
    await expect(row(page, "AAPL")).to_contain_text("−1.50 %")
    await expect(row(page, "AAPL").locator("time")).to_have_text(re.compile(r"^\d+ s$"))
    history.put(latest("AAPL", 229.5, version=2), latest("NVDA", 134.0, event_time=now_ms() - 3 * 3_600_000))
    await expect(row(page, "NVDA").locator("time")).to_have_text("3 h")
    await expect(row(page, "AAPL")).to_contain_text("229.50")
    await expect(row(page, "AAPL").locator("[data-flash^=up]")).to_have_count(1)
    history.put(latest("AAPL", 229.4, version=3))
    await expect(row(page, "AAPL").locator("[data-flash^=down]")).to_have_count(1)
    assert await page.locator("#rows li b:first-child").all_inner_texts() == [
        "AAPL", "229.40", SYMBOL, "16.00", "NVDA", "134.00",
    ]  # fmt: skip
    history.live.recent.drop_latest("NVDA")
    await expect(row(page, "NVDA")).to_have_count(0)


async def test_a_candle_forms_and_closes(history: Site, open_page: Open) -> None:
    page = (await open_page(history.url + ADDRESS)).page
    await legend_shows(page, "closed", "16.00")
    before = await drawing(page)
    forming = candle(SYMBOL, START_MS + 6 * MINUTE_MS, close=17.25, version=9, is_closed=False, state="forming")
    history.put(forming)
    await legend_shows(page, "forming", "17.25")
    await is_redrawn(page, before)
    history.put(replace(forming, close=18.5, high=18.5, version=10))
    await legend_shows(page, "forming", "18.50")
    history.put(replace(forming, close=18.5, high=18.5, version=2**55 + 11, is_closed=True, state="closed"))
    await legend_shows(page, "closed", "18.50")
    await expect(page.locator("#range")).to_contain_text("7 candles")


async def test_an_amendment_is_redrawn(history: Site, open_page: Open) -> None:
    page = (await open_page(history.url + ADDRESS)).page
    await legend_shows(page, "closed", "16.00")
    await page.locator("#chart").focus()
    for _ in range(20):  # a busy machine may not have drawn for the first keys
        if await page.locator("#legend").get_by_text("13.00", exact=True).count():
            break
        await page.keyboard.press("ArrowLeft")
        await page.wait_for_timeout(250)
    await legend_shows(page, "closed", "13.00")
    before = await drawing(page)
    late = candle(SYMBOL, START_MS + 2 * MINUTE_MS, close=12.5, version=7, state="amended")
    history.put(late)
    await legend_shows(page, "amended", "12.50")
    await is_redrawn(page, before)
    before = await drawing(page)
    history.put(replace(late, gap=True, partial=True, version=8))
    await legend_shows(page, "amended", "gap", "partial")
    await is_redrawn(page, before)
    await page.keyboard.press("Escape")
    await legend_shows(page, "closed", "16.00")
    await expect(page.locator("#legend").get_by_text("gap")).to_have_count(0)


async def test_a_candle_between_others_appears_in_its_place(history: Site, open_page: Open) -> None:
    page = (await open_page(history.url + ADDRESS)).page
    await legend_shows(page, "closed", "16.00")
    history.put(candle(SYMBOL, START_MS - 2 * MINUTE_MS, close=9.75))
    await expect(page.locator("#range")).to_contain_text("7 candles")
    await page.locator("#chart").focus()
    await page.keyboard.press("Home")
    await legend_shows(page, "9.75")


async def test_it_resumes_by_itself_when_the_server_restarts(history: Site, open_page: Open) -> None:
    page = (await open_page(history.url + ADDRESS)).page
    await legend_shows(page, "closed", "16.00")
    await history.stop()
    await expect(page.locator("#connection")).to_have_text("Reconnecting")
    # What happened meanwhile: a candle amended, one closed, and a view that knows the newest only.
    missed = [
        candle(SYMBOL, START_MS + 5 * MINUTE_MS, close=12.5, version=2, state="amended"),
        candle(SYMBOL, START_MS + 6 * MINUTE_MS, close=13.5),
    ]
    await history.sink.insert_candles(missed)
    await history.start()
    history.put(candle(SYMBOL, START_MS + 7 * MINUTE_MS, close=14.5, is_closed=False, state="forming"))
    history.put(latest(SYMBOL, 14.5, version=5))
    await expect(page.locator("#connection")).to_have_text("Live")
    await legend_shows(page, "forming", "14.50")
    await expect(page.locator("#range")).to_contain_text("8 candles")
    history.put(candle(SYMBOL, START_MS + 6 * MINUTE_MS, close=99.0, version=0))  # an old state, read again
    history.put(latest(SYMBOL, 14.25, version=6))
    await expect(page.locator("#price")).to_have_text("14.25")
    await page.locator("#chart").focus()
    await page.keyboard.press("ArrowLeft")
    await legend_shows(page, "13.50")
    await page.keyboard.press("ArrowLeft")
    await legend_shows(page, "12.50", "amended")
    history.put(candle(SYMBOL, START_MS + 7 * MINUTE_MS, close=15.5, version=2**56, state="closed"))
    await page.keyboard.press("Escape")
    await legend_shows(page, "closed", "15.50")


async def test_a_server_that_is_full_is_asked_again(
    history: Site, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(history.guard, "_streams", Slots(0, 1))
        page = (await open_page(history.url)).page
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(row(page, "AAPL")).to_be_visible()


async def test_where_readers_need_a_key_the_page_asks_for_it_and_keeps_it_out_of_addresses(
    site: Site, open_page: Open
) -> None:
    secret, key = make_key("desk", [READ])
    await site.stop()
    site.guard = Guard(ApiKeys([key]), reads_are_open=False, now_ms=now_ms)
    await site.start()
    await site.sink.insert_candles([candle(SYMBOL, START_MS, close=11.0)])
    site.put(latest(SYMBOL, 16.0))
    seen = await open_page(site.url + ADDRESS)
    page, dialog = seen.page, seen.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("this needs an API key with the scope read")
    await expect(page.locator("#connection")).to_have_text("No access")
    await page.get_by_label("API key", exact=True).and_(page.locator("input")).fill("a guess")
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("the API key is not known here")
    assert await page.evaluate("sessionStorage.length") == 0

    await page.locator("#key-secret").fill(f" {secret} ")
    await page.get_by_role("button", name="Show prices").click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(row(page, SYMBOL)).to_contain_text("16.00")
    await expect(page.locator("#range")).to_contain_text("1 candle")
    await page.reload()
    await expect(page.locator("#connection")).to_have_text("Live")
    assert all(secret not in url for url in seen.requests)
    assert await page.evaluate("localStorage.length + document.cookie.length") == 0
    assert not [error for error in seen.errors if "401" not in error]


async def test_history_is_asked_for_again_when_the_storage_is_back(
    history: Site, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(history.sink, "candles", _refuse)
        page = (await open_page(history.url + ADDRESS)).page
        await expect(page.locator("#notice")).to_contain_text("No history: The candle storage does not answer")
        await expect(page.locator("#range")).to_contain_text("1 candle")
    await expect(page.locator("#range")).to_contain_text("6 candles")
    await expect(page.locator("#notice")).to_be_hidden()


async def _refuse(*_: object, **__: object) -> None:
    raise SinkUnreachable("away")


async def test_older_candles_come_when_they_are_scrolled_to(site: Site, open_page: Open) -> None:
    await site.sink.insert_candles([candle(SYMBOL, START_MS - n * MINUTE_MS) for n in range(700)])
    site.put(latest(SYMBOL, 11.0))
    page = (await open_page(site.url + ADDRESS)).page
    await expect(page.locator("#range")).to_contain_text("500 candles")
    await page.locator("#chart").focus()
    await page.keyboard.press("Home")
    box = await page.locator("#chart").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 400, box["y"] + 200)
    for _ in range(20):
        await page.mouse.wheel(-900, 0)
    await expect(page.locator("#range")).to_contain_text("700 candles")
    await expect(page.locator("#newest")).to_be_visible()
    await page.locator("#newest").click()
    await expect(page.locator("#newest")).to_be_hidden()


async def test_extended_hours_are_a_switch_away(history: Site, open_page: Open) -> None:
    extended = [candle(SYMBOL, START_MS + n * MINUTE_MS, close=21.0 + n, session="extended") for n in range(3)]
    await history.sink.insert_candles(extended[:2])
    history.put(extended[2])
    page = (await open_page(history.url + ADDRESS)).page
    await legend_shows(page, "closed", "16.00")
    sessions = page.get_by_role("radiogroup", name="Session")
    await expect(sessions.get_by_role("radio", name="Regular")).to_be_checked()
    await sessions.get_by_role("radio", name="Extended").click()
    await legend_shows(page, "closed", "23.00")
    await expect(sessions.get_by_role("radio", name="Extended")).to_be_checked()
    await expect(page.locator("#range")).to_contain_text("3 candles")
    history.put(candle(SYMBOL, START_MS + 5 * MINUTE_MS, close=99.0, version=2, state="amended"))
    history.put(replace(extended[2], close=24.5, version=2, state="amended"))
    await legend_shows(page, "amended", "24.50")
    await expect(page.locator("#range")).to_contain_text("3 candles")
    await page.reload()
    await legend_shows(page, "amended", "24.50")
    await sessions.get_by_role("radio", name="Regular").click()
    await legend_shows(page, "amended", "99.00")


async def test_the_keyboard_reaches_everything(history: Site, open_page: Open) -> None:
    history.put(latest("NVDA", 134.0), candle("NVDA", START_MS, close=9.5), candle("NVDA", START_MS, "5m", close=8.5))
    page = (await open_page(history.url + ADDRESS)).page
    await expect(row(page, "NVDA")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("nvd")
    await expect(page.locator("#count")).to_have_text("1 of 3 symbols")
    await expect(row(page, "AAPL")).to_be_hidden()
    await page.keyboard.press("Enter")
    await expect(page.locator("#symbol")).to_have_text("NVDA")
    await legend_shows(page, "9.50")
    await page.keyboard.press("Escape")
    await expect(page.locator("#count")).to_have_text("3 symbols")
    await page.keyboard.press("5")
    await legend_shows(page, "8.50")
    await page.keyboard.press("d")
    await expect(page.locator("#notice")).to_have_text("No candles yet")
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#symbol")).to_have_text(SYMBOL)
    assert page.url.endswith("#BTC-USD|1d|regular")
    await page.keyboard.press("t")
    assert await page.evaluate("document.documentElement.dataset.theme") == "light"
    await page.reload()
    await expect(page.locator("#symbol")).to_have_text(SYMBOL)
    assert await page.evaluate("document.documentElement.dataset.theme") == "light"


async def test_of_hundreds_of_symbols_only_rows_that_change_are_touched(site: Site, open_page: Open) -> None:
    symbols = [f"S{number:03}" for number in range(600)]
    site.put(*(latest(symbol, 10.0) for symbol in symbols))
    page = (await open_page(site.url)).page
    await expect(page.locator("#count")).to_have_text("600 symbols")
    await page.evaluate("""() => {
        window.touched = new Set();
        new MutationObserver((changes) => {
            for (const { target } of changes) {
                const row = (target.nodeType === 1 ? target : target.parentElement).closest("li");
                const isAge = (target.nodeType === 1 ? target : target.parentElement).closest("time");
                if (row && !isAge) window.touched.add(row.dataset.symbol);
            }
        }).observe(document.getElementById("rows"), { subtree: true, childList: true, characterData: true });
    }""")
    site.put(latest("S003", 11.0, version=2), latest("S599", 12.0, version=3))
    await expect(row(page, "S003")).to_contain_text("11.00")
    await expect(row(page, "S599")).to_contain_text("12.00")
    assert await page.evaluate("[...window.touched].sort()") == ["S003", "S599"]


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [("chart", 1440, 860, "dark"), ("chart-light", 1440, 860, "light"), ("chart-phone", 390, 844, "dark")],
)
async def test_it_fits_screens_great_and_small_by_day_and_night(
    site: Site, open_page: Open, request: pytest.FixtureRequest, name: str, width: int, height: int, scheme: str
) -> None:
    await put_market(site)
    seen = await open_page(site.url + ADDRESS, width, height, scheme)
    page = seen.page
    await legend_shows(page, "forming")
    await expect(page.locator("#range")).to_contain_text("500 candles")
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    shade = await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    assert (shade == "rgb(255, 255, 255)") == (scheme == "light")
    site.put(
        latest("AAPL", 228.44, version=9, change_percent=1.25), latest("ETH-USD", 2640.1, version=9, exchange="CCC")
    )
    await expect(row(page, "AAPL")).to_contain_text("228.44")
    image = await page.screenshot()
    assert len(image) > 20_000  # a picture of one colour has a fiftieth of that
    assert seen.errors == []
    folder: Path | None = request.config.getoption("--images", None)
    if folder is not None:
        (folder / f"{name}.png").write_bytes(image)
