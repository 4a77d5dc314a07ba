from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from webpage import Site

# Chromium speaks to its maker's servers unless it is told not to; the rest is for a container without a display.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


expect.set_options(timeout=15_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--images", type=Path, help="a folder for screenshots, docs/images say; none are kept without it")


# One browser, and so one event loop, for all tests: to start it takes longer than most of them.
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: run make setup, or install the system package 'chromium'"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@dataclass
class Seen:
    """What a page did besides what it shows."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


Open = Callable[..., Awaitable[Seen]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Open a URL in a page of its own; its requests and errors are kept."""
    contexts: list[BrowserContext] = []

    async def open_url(url: str, width: int = 1440, height: int = 860, scheme: str = "dark") -> Seen:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="light" if scheme == "light" else "dark"
        )
        contexts.append(context)
        page = await context.new_page()
        seen = Seen(page)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and seen.errors.append(said.text))
        await page.goto(url)
        return seen

    yield open_url
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()
