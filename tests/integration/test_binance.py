"""Days of Binance in a minute: trades over real sockets into a real topic, through every fault of the venue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from days import DAY_MS, SEEDS, DayClock, Days, Fault, Identity, Venue, assert_no_tick_is_missing
from market_topic import MarketTopic

from stockstream.models import Tick
from stockstream.sources.binance.fake import FIRST_ID, FakeBinance, Limits, Tape
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.binance.history import BinanceHistory
from stockstream.sources.binance.ticker import BinanceTicker
from stockstream.testing.wait import wait_until_async

START_MS = 1_763_391_600_000
SCALE = 5000.0
LIMITS = replace(Limits().scaled(SCALE), ping_every_s=2.0, pong_within_s=10.0)
UNDER_WAY_MS = int(1.5 * 1000 * SCALE)  # what is sent may take so long until it is read: a busy machine is slow
NAMES = [f"S{number}USDT" for number in range(45)]
SYMBOLS = [f"BINANCE:{name}" for name in NAMES]
CONNECTIONS = 3
PATIENCE_S = 60


class HastyFeed(BinanceFeed):
    """With the lifetime that the fake's connections have."""

    capabilities = replace(BinanceFeed.capabilities, lifetime_s=LIMITS.lifetime_s, silence_s=2.0)


class Binance(Venue):
    """Trades with ids: two connections are open at each renewal, and what comes twice counts once."""

    def __init__(self, seed: int) -> None:
        self.clock = DayClock(START_MS, SCALE)
        self.tape = Tape(NAMES, START_MS, trades_per_s=120.0 / SCALE, seed=seed)
        self.fake = FakeBinance(self.tape, self.clock, limits=LIMITS)
        self.watched = [SYMBOLS[first::CONNECTIONS] for first in range(CONNECTIONS)]

    def feed(self) -> HastyFeed:
        self.poll = self.poll or BinanceTicker(self.fake.rest_url)
        return HastyFeed(self.fake.url)

    def faults(self, days: Days) -> list[Fault]:
        fake = self.fake

        async def until_renewed() -> None:
            wanted = [runner.status.renewals + 1 for runner in days.runners]
            await wait_until_async(
                lambda: all(
                    runner.status.renewals >= count for runner, count in zip(days.runners, wanted, strict=True)
                ),
                PATIENCE_S,
                "renewals",
            )

        async def shut_down() -> None:
            fake.announce_shutdown()
            await until_renewed()

        async def ban() -> None:
            fake.refuse(418, 1)
            await fake.close(1001)
            await days.until_refused("banned")
            fake.refuse(None)

        async def have_too_many_requests() -> None:
            fake.refuse(429, 1)
            fake.abort()
            await days.until_refused("HTTP 429")
            fake.refuse(None)

        return [
            Fault("closed 1001", lambda: fake.close(1001)),
            Fault(None, at_once(fake.send_rubbish)),
            Fault("aborted", at_once(fake.abort)),
            Fault("silent", at_once(fake.be_silent)),
            Fault("closed 1001, refused with HTTP 418", ban),
            Fault("aborted, refused with HTTP 429", have_too_many_requests),
            Fault(None, shut_down),
            *[Fault(None, until_renewed)] * 3,
        ]

    def made(self) -> dict[str, list[Identity]]:
        return {
            f"BINANCE:{name}": [
                (trade.time_ms, float(trade.price), float(trade.quantity), trade.trade_id) for trade in trades
            ]
            for name, trades in self.tape.trades.items()
        }

    def acknowledged(self) -> Iterator[tuple[str, Identity]]:
        made = self.made()
        for client in self.fake.gone:
            for name, number in client.sent if client.is_acknowledged else ():
                symbol = f"BINANCE:{name}"
                yield symbol, made[symbol][number - FIRST_ID]

    def identity(self, tick: Tick) -> Identity | None:
        return (tick.event_time, tick.price, tick.last_size, tick.trade_id) if tick.kind == "trade" else None

    def rubbish(self) -> int:
        return self.fake.rubbish


def at_once(strike: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def struck() -> None:
        strike()

    return struck


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_days_of_renewals_drops_silences_bans_and_rubbish(kafka: Any, registry: Any, seed: int) -> None:
    venue = Binance(seed)
    async with (
        venue.fake as fake,
        MarketTopic(kafka, registry, venue.clock) as topic,
        Days(venue, topic) as days,
    ):
        causes = await days.live_through(seed)
        ticks = await days.stop()
        assert venue.clock() - START_MS > 3 * DAY_MS
        assert_no_tick_is_missing(days, ticks, causes)

        assert sum(client.is_acknowledged for client in fake.gone) >= CONNECTIONS * 6, "closed, renewed, stopped"
        assert all(runner.status.renewals >= 3 for runner in days.runners)
        assert not [client.ended_by for client in fake.gone if client.ended_by in ("too many messages", "no pong")]
        ids: dict[str, set[int]] = defaultdict(set)
        for tick in ticks:
            if tick.kind == "trade":
                ids[tick.symbol].add(tick.trade_id)
        copies = sum(tick.kind == "trade" for tick in ticks) - sum(map(len, ids.values()))
        assert copies > 10, "two connections were open at renewals"
        assert {tick.symbol for tick in ticks if tick.kind == "quote" and tick.trades_24h} == set(SYMBOLS)

        history = BinanceHistory(fake.rest_url)
        for symbol in SYMBOLS[:8]:
            filled = set(ids[symbol])
            for hole in ticks:
                if hole.symbol == symbol and hole.kind == "gap" and hole.until is not None:
                    async for page in history.trades(symbol, hole.event_time - UNDER_WAY_MS, hole.until):
                        filled |= {tick.trade_id for tick in page}
            assert set(range(min(ids[symbol]), max(ids[symbol]) + 1)) <= filled, "the history fills every hole"
        await history.close()
        await venue.poll.close()
