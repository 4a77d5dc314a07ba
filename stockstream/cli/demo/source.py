"""Where the demonstration's ticks come from: a made-up market, Yahoo itself, or a file."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from urllib.parse import quote

from stockstream.cli.connect import connected_producer, now_ms
from stockstream.cli.demo.system import System
from stockstream.core.interval import window_end, window_start
from stockstream.core.verdict import Policy
from stockstream.errors import InvalidInput
from stockstream.models import Tick, Verdict
from stockstream.sources.market import DAY_MS
from stockstream.sources.replay.player import Player
from stockstream.sources.replay.rows import Recording
from stockstream.sources.yahoo.fake import FakeYahoo, Market, instruments, write_always_open

SYMBOLS = 300
LIVE_SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "^GSPC", "ES=F", "BTC-USD", "ETH-USD", "VCB.VN")

_TRADES_PER_S = 100.0
_LOTS_A_TRADE = 200  # about twice what one has: the volume of the day must not begin below where the last run ended
_AHEAD = 5000  # ticks; of each partition the embedded broker keeps 5 MB
_LOOK_EVERY_S = 0.05
_AGES_S = 100 * 366 * 86_400


@asynccontextmanager
async def made_up_market() -> AsyncIterator[dict[str, str]]:
    """A server that speaks Yahoo's protocol while entered; gives the variables that have a worker watch its symbols."""
    start_ms = now_ms()
    listed = instruments(SYMBOLS, always_open=True)
    whole = sum(each.weight for each in listed)
    for each in listed:
        if each.has_volume and not each.is_rolling:
            each.day = start_ms // DAY_MS
            each.volume = int(start_ms % DAY_MS / 1000 * _TRADES_PER_S * each.weight / whole * _LOTS_A_TRADE)
    market = Market(listed, start_ms, trades_per_s=_TRADES_PER_S, seed=start_ms)
    with tempfile.TemporaryDirectory(prefix="stockstream-calendars-") as folder:
        calendars = write_always_open(Path(folder), listed)
        async with FakeYahoo(market, now_ms, keep_tape=False) as fake:
            yield {"STOCKSTREAM_YAHOO_URL": fake.url, "SYMBOLS": ",".join(market.instruments), **calendars}


def yahoo(symbols: Sequence[str]) -> dict[str, str]:
    """The variables that have a worker watch symbols at Yahoo."""
    return {"SYMBOLS": ",".join(symbols)}


def a_file(tables: Path) -> dict[str, str]:
    """The variables that have a worker read what a replay produces, into ``tables`` that know of no other run.

    What they knew would make the same trades again duplicates, and those of an earlier file too old.
    """
    shutil.rmtree(tables, ignore_errors=True)
    return {
        "STOCKSTREAM_INGEST_ENABLED": "false",
        "STOCKSTREAM_DATA_DIR": str(tables),
        # A file may be in any order: no row is given up before its last line.
        "STOCKSTREAM_RETENTION_S": str(_AGES_S),
        # What has been done is to be known soon: no more is played until then.
        "STOCKSTREAM_COMMIT_INTERVAL_S": "0.2",
        "STOCKSTREAM_SINK_INTERVAL_MS": "200",
    }


class Replay:
    """Plays a file into the system's topic, never further ahead than the broker keeps."""

    def __init__(self, system: System, trades: Recording, *, only: str | None, speed: float | None) -> None:
        self._system = system
        self._trades, self._only, self._speed = trades, only, speed
        self._last: dict[str, Tick] = {}
        self._sent = self._done = 0

    async def run(self, close: bool) -> None:
        """Play to the end, and wait until all of it is in the tables; with ``close`` every window is closed, and saved.

        The end of the days is told to the worker by a quote of each symbol's last price at the end of its last day:
        nothing but event time closes a window.
        """
        topic = self._system.settings.topic(self._system.settings.tick_topics[0])
        producer = await connected_producer(self._system.settings, topic, shed_after_s=inf)
        judge = Policy().judge

        async def emit(ticks: Sequence[Tick]) -> None:
            await self._wait(_AHEAD)
            for tick in ticks:
                last = self._last.get(tick.symbol)
                # A file need not be in the order of time, and no day is made of what the worker refuses.
                is_newest = last is None or last.event_time <= tick.event_time
                if tick.price and is_newest and judge(tick) is Verdict.ACCEPTED:
                    self._last[tick.symbol] = tick
            await producer.send(ticks)
            self._sent += len(ticks)

        try:
            await Player(
                self._trades, emit, speed=self._speed, only=None if self._only is None else (self._only,)
            ).run()
            if not self._sent:
                raise InvalidInput(f"{self._trades.name} has no trade{f' of {self._only}' if self._only else ''}")
            ends_ms = {symbol: _day_ends_ms(tick) for symbol, tick in self._last.items()}
            if close:
                delay_ms = int(self._system.settings.close_delay_s * 1000)
                await emit([_closing(tick, ends_ms[tick.symbol] + delay_ms) for tick in self._last.values()])
            await producer.flush(inf)
            await self._wait(0)
        finally:
            await producer.close()
        if close:
            await self._wait_closed(ends_ms)

    async def _wait(self, ahead: int) -> None:
        """Wait until at most ``ahead`` of the ticks sent are still to be done."""

        async def is_near() -> bool:
            if self._sent - self._done > ahead:
                self._done, _ = await self._system.progress()
            return self._sent - self._done <= ahead

        await _until(is_near)

    async def _wait_closed(self, ends_ms: Mapping[str, int]) -> None:
        for symbol, end_ms in ends_ms.items():
            await _until(partial(self._is_closed, symbol, end_ms))

        async def is_saved() -> bool:
            return not await self._system.unsaved()

        await _until(is_saved)

    async def _is_closed(self, symbol: str, end_ms: int) -> bool:
        """Whether the last of its days in this file is; an earlier run on the same folder may have left later ones."""
        query = f"interval=1d&end={end_ms}&limit=1"
        status, answer = await self._system.get(f"/candles/{quote(symbol, safe='')}?{query}")
        return status == 200 and all(candle["is_closed"] for candle in answer["candles"])


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():  # noqa: ASYNC110 - the worker's progress sends no event
        await asyncio.sleep(_LOOK_EVERY_S)


def _day_ends_ms(tick: Tick) -> int:
    return window_end("1d", window_start("1d", tick.event_time))


def _closing(tick: Tick, at_ms: int) -> Tick:
    return Tick(
        tick.symbol,
        at_ms,
        tick.price,
        kind="quote",
        producer_timestamp=at_ms,
        exchange=tick.exchange,
        source=tick.source,
    )
