"""Days of Finnhub, Yahoo and SSI in seconds: ticks over real sockets into a real topic, through every fault of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from days import (
    DAY_MS,
    EFFECT_S,
    EFFECTIVE_AFTER_S,
    PATIENCE_S,
    SEEDS,
    DayClock,
    Days,
    Fault,
    Identity,
    Venue,
    assert_no_tick_is_missing,
)
from market_topic import MarketTopic
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from stockstream.models import Tick
from stockstream.sources.finnhub.fake import FakeFinnhub
from stockstream.sources.finnhub.fake import Market as FinnhubMarket
from stockstream.sources.finnhub.feed import FinnhubFeed
from stockstream.sources.market import VIETNAM, session_at
from stockstream.sources.ssi.fake import FakeSsi
from stockstream.sources.ssi.feed import SsiFeed
from stockstream.sources.yahoo.fake import FakeYahoo, Market, instruments
from stockstream.sources.yahoo.feed import YahooFeed
from stockstream.testing.wait import wait_until_async

MONDAY_15_UTC_MS = 1_763_391_600_000
FRIDAY_10_IN_VIETNAM_MS = 1_795_748_400_000
SCALE, VIETNAMESE_SCALE = 30_000.0, 3_000.0


class Plain(Venue):
    """What the three can do in common."""

    def faults(self, days: Days) -> list[Fault]:
        fake = self.fake

        async def refuse() -> None:
            fake.refuse(503)
            await fake.close(1001)
            await days.until_refused("HTTP 503")
            fake.refuse(None)

        async def go_away() -> None:
            await fake.stop()
            await days.until_refused("refused")
            await fake.start()

        return [
            Fault("closed 1001", lambda: fake.close(1001)),
            Fault("closed 1000", lambda: fake.close(1000)),
            Fault("aborted", fake.abort),
            Fault("silent", self.be_silent),
            Fault(None, fake.send_rubbish),
            Fault("closed 1001, refused with HTTP 503", refuse),
            Fault("aborted, refused", go_away),
        ]

    def refusal(self, days: Days, status: int, told: str, **how: float) -> Fault:
        """Connections end without a word, and no new one is let in until that is told."""

        async def refuse() -> None:
            self.fake.refuse(status, **how)
            await self.fake.abort()
            await days.until_refused(told)
            self.fake.refuse(None)

        return Fault(f"aborted, refused with HTTP {status}", refuse)

    async def be_silent(self) -> None:
        self.fake.be_silent()

    def rubbish(self) -> int:
        return int(self.fake.tape.rubbish)


class Numbering:
    """Tells equal ticks of one symbol apart by their order."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, Identity]] = Counter()

    def __call__(self, symbol: str, identity: Identity) -> Identity:
        self._seen[symbol, identity] += 1
        return *identity, self._seen[symbol, identity]


class HastyFinnhub(FinnhubFeed):
    capabilities = replace(
        FinnhubFeed.capabilities, command_every_s=0.01, silence_s=2.0, effective_after_s=EFFECTIVE_AFTER_S * SCALE
    )


class Finnhub(Plain):
    """Trades without ids: each that comes counts, and with one connection a key none comes twice."""

    key = "t0ken"

    def __init__(self, seed: int) -> None:
        names = ["AAPL", "MSFT", "BRK.B", "BINANCE:BTCUSDT", "OANDA:EUR_USD", "TSLA"]
        self.clock = DayClock(MONDAY_15_UTC_MS, SCALE)
        self.fake = FakeFinnhub(FinnhubMarket(names, seed=seed), self.clock, token=self.key, ping_every_s=0.2)
        self.fake.effective_after_s = EFFECT_S
        self.watched = [[f"FINNHUB:{name}" for name in names]]
        self._number = Numbering()

    def feed(self) -> FinnhubFeed:
        return HastyFinnhub(self.fake.url, finnhub_api_token=SecretStr(self.key))

    def faults(self, days: Days) -> list[Fault]:
        fake = self.fake

        async def refuse_the_key() -> None:
            fake.token = self.key[::-1]
            await fake.abort()
            await days.until_refused("FINNHUB_API_TOKEN")
            fake.token = self.key

        async def let_another_in() -> None:
            with pytest.raises(ConnectionClosed):
                async with connect(f"{fake.url}?token={self.key}", open_timeout=PATIENCE_S) as another:
                    await another.recv()

        return [
            *super().faults(days),
            self.refusal(days, 429, "HTTP 429", retry_after_s=1),
            Fault("aborted, refused with HTTP 401", refuse_the_key),
            Fault("aborted", let_another_in),
        ]

    async def be_silent(self) -> None:
        self.fake.fade()

    def rubbish(self) -> int:
        return super().rubbish() - 1  # one of them says that something is refused

    def made(self) -> dict[str, list[Identity]]:
        number, found = Numbering(), defaultdict(list)
        for each in self.fake.tape.made:
            found[f"FINNHUB:{each.symbol}"].append(number(each.symbol, _print(each)))
        return found

    def acknowledged(self) -> Iterator[tuple[str, Identity]]:
        number = Numbering()
        for connection, each in self.fake.tape.sent:
            identity = number(each.symbol, _print(each))
            if connection in self.fake.acknowledged:
                yield f"FINNHUB:{each.symbol}", identity

    def identity(self, tick: Tick) -> Identity | None:
        if tick.kind not in ("trade", "quote"):
            return None
        return self._number(tick.symbol, (tick.event_time, tick.price, tick.last_size, tick.conditions))


def _print(each: Any) -> Identity:
    return each.time_ms, each.price, each.size, ",".join(each.conditions or ()) or None


class HastyYahoo(YahooFeed):
    capabilities = replace(YahooFeed.capabilities, silence_s=2.0, effective_after_s=EFFECTIVE_AFTER_S * SCALE)


class Yahoo(Plain):
    """Snapshots: one that comes twice, as over two connections, is the same by time, price and volume."""

    def __init__(self, seed: int) -> None:
        self.clock = DayClock(MONDAY_15_UTC_MS, SCALE)
        market = Market(instruments(40), MONDAY_15_UTC_MS, trades_per_s=400.0 / SCALE, seed=seed)
        self.fake = FakeYahoo(market, self.clock, snapshot_every_ms=0)
        self.fake.effective_after_s = EFFECT_S
        symbols = list(market.instruments)
        self.watched = [symbols[::2], symbols[1::2], symbols[:10]]  # of each some are traded at night

    def feed(self) -> YahooFeed:
        return HastyYahoo(self.fake.url)

    def faults(self, days: Days) -> list[Fault]:
        return [
            *super().faults(days),
            self.refusal(days, 429, "HTTP 429", retry_after_s=1),
            self.refusal(days, 403, "Yahoo refuses connections with HTTP 403"),
        ]

    def made(self) -> dict[str, list[Identity]]:
        found = defaultdict(list)
        for each in self.fake.tape.trades:
            found[each.symbol].append((each.time_ms // 1000 * 1000, each.price, each.volume))
        return found

    def acknowledged(self) -> Iterator[tuple[str, Identity]]:
        for each in self.fake.tape.sent:
            if each.connection in self.fake.acknowledged and not each.is_last_known:
                yield each.symbol, (each.time_ms, each.price, each.volume)

    def identity(self, tick: Tick) -> Identity | None:
        if tick.kind != "snapshot":
            return None
        return tick.event_time, tick.price, tick.day_volume if tick.day_volume >= 0 else int(tick.volume_24h or 0)


class HastySsi(SsiFeed):
    capabilities = replace(SsiFeed.capabilities, silence_s=1.2, effective_after_s=EFFECTIVE_AFTER_S * VIETNAMESE_SCALE)


class Ssi(Plain):
    """Trades with the volume of the day as their number; nights and a weekend without any pass more quickly.

    So quickly that an hour after a command may be over before the fake has read it: that has an effect at once here.
    """

    behind_s = 1.5

    def __init__(self, seed: int) -> None:
        names = ["VCB", "FPT", "HPG", "VNM", *(f"X{number:02d}" for number in range(21))]
        self.clock = DayClock(
            FRIDAY_10_IN_VIETNAM_MS, VIETNAMESE_SCALE, 150_000.0, lambda at_ms: session_at(VIETNAM, at_ms) is not None
        )
        self.fake = FakeSsi(names, self.clock, seed=seed)
        self.watched = [[f"SSI:{name}" for name in names]]

    def feed(self) -> SsiFeed:
        consumer_id, secret = self.fake.consumer
        return HastySsi(
            self.fake.url,
            ssi_api_url=self.fake.url,
            ssi_consumer_id=SecretStr(consumer_id),
            ssi_consumer_secret=SecretStr(secret),
            now_s=lambda: self.clock() / 1000,
        )

    def faults(self, days: Days) -> list[Fault]:
        fake = self.fake

        async def end_tokens() -> None:
            given = fake.tokens_given
            fake.end_tokens()
            await fake.close(1001)
            await wait_until_async(lambda: fake.tokens_given > given, PATIENCE_S, "another token")

        async def refuse_the_key() -> None:
            consumer, fake.consumer = fake.consumer, ("an0ther", "s3cret")
            fake.end_tokens()
            await fake.abort()
            await days.until_refused("SSI_CONSUMER_SECRET")
            fake.consumer = consumer

        return [
            *super().faults(days),
            Fault("closed 1001", end_tokens),
            Fault("aborted, key refused", refuse_the_key),
        ]

    def made(self) -> dict[str, list[Identity]]:
        found = defaultdict(list)
        for each in self.fake.tape.made:
            found[f"SSI:{each.symbol}"].append((each.time_ms, each.price, float(each.size), each.total))
        return found

    def acknowledged(self) -> Iterator[tuple[str, Identity]]:
        for connection, each in self.fake.tape.sent:
            if connection in self.fake.acknowledged:
                yield f"SSI:{each.symbol}", (each.time_ms, each.price, float(each.size), each.total)

    def identity(self, tick: Tick) -> Identity | None:
        return (tick.event_time, tick.price, tick.last_size, tick.day_volume) if tick.kind == "trade" else None


def copies(venue: Venue, ticks: Sequence[Tick]) -> int:
    identities = [(tick.symbol, identity) for tick in ticks if (identity := venue.identity(tick)) is not None]
    return len(identities) - len(set(identities))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make_venue", [Finnhub, Yahoo, Ssi])
async def test_days_of_drops_silences_bans_and_rubbish(
    kafka: Any, registry: Any, make_venue: type[Finnhub] | type[Yahoo] | type[Ssi], seed: int
) -> None:
    venue = make_venue(seed)
    async with (
        venue.fake,
        MarketTopic(kafka, registry, venue.clock) as topic,
        Days(venue, topic) as days,
    ):
        causes = await days.live_through(seed)
        ticks = await days.stop()
        assert venue.clock() - venue.clock.start_ms > 2 * DAY_MS
        assert_no_tick_is_missing(days, ticks, causes)
        if make_venue is Yahoo:
            assert copies(venue, ticks) > 100, "two connections have the same symbols"
        elif make_venue is Ssi:
            assert copies(venue, ticks) == 0 < venue.fake.tape.repeats, "what is told again is left out"
