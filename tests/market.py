"""A market that real workers watch: its time can leap, its faults come on order, and its tape says what is right."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import struct
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from oracle import Expected, Key, is_accepted
from reference import LENGTHS, reference_candles

from stockstream.models import Candle, Tick
from stockstream.models.tick import CONTROLS
from stockstream.sources.yahoo.fake import FakeYahoo, Market, Sent, Trade, instruments, write_always_open
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until_async

Content = tuple[int, float, int]
"""Time, price and volume of a snapshot."""

MINUTE_MS, DAY_MS = 60_000, 86_400_000
SYMBOLS = 300
PATIENCE_S = 90
SILENCE_S = 2.5
_UNDER_WAY_MS = 2000
_HERE = Path(__file__).parent


class MarketTime:
    """Epoch ms that pass as fast as ours, and leap forward on order; workers share it through a file."""

    def __init__(self, file: Path, start_ms: int) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._shift = mmap.mmap(opened.fileno(), 8)
        self.environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_HERE / "leaping"), os.environ.get("PYTHONPATH")])),
            "MARKET_SHIFT": str(file),
            "MARKET_SILENCE_S": str(SILENCE_S),
        }
        self.leap(start_ms)

    def __call__(self) -> int:
        return int((time.time() + float(struct.unpack_from("<d", self._shift)[0])) * 1000)

    def leap(self, to_ms: int) -> None:
        """Have it be ``to_ms`` now."""
        self._shift[:] = struct.pack("<d", to_ms / 1000 - time.time())


class Scene:
    """Workers that watch all symbols of a fake Yahoo, and when things are as they should be."""

    def __init__(self, fake: FakeYahoo, system: System, now_ms: MarketTime) -> None:
        self.fake, self.system, self.now_ms = fake, system, now_ms

    async def start(self, name: str = "w0") -> None:
        await asyncio.to_thread(self.system.start, name)

    async def stop(self, name: str = "w0") -> None:
        """End a worker in good order."""
        worker = self.system.workers[name]
        await asyncio.to_thread(worker.stop)
        assert worker.exit_code == 0, worker.log_tail()

    async def until_streaming(self, accepted: int) -> None:
        """Wait until so many connections were made in all, and three are open, with 100 symbols each."""

        def is_served() -> bool:
            served = [len(symbols) for symbols in self.fake.connections]
            return self.fake.accepted >= accepted and served == [100] * (SYMBOLS // 100)

        await wait_until_async(is_served, PATIENCE_S, f"three full connections, {accepted} in all")

    async def until_caught_up(self, name: str = "w0") -> None:
        """Wait until a worker tells for every symbol a price at least as new as the last one that was sent."""
        sent = {frame.symbol: frame.time_ms for frame in self.fake.tape.sent}

        async def has_all() -> bool:
            status, answer = await asyncio.to_thread(self.system.workers[name].get, "/latest")
            told = {one["symbol"]: one["event_time_ms"] for one in answer["latest"]} if status == 200 else {}
            return all(told.get(symbol, 0) >= time_ms for symbol, time_ms in sent.items())

        await wait_until_async(has_all, PATIENCE_S, "everything that was sent to be told")

    async def until_vouched(self, market_ms: int) -> None:
        """Wait until the workers have said of every connection that what came before this time is in Kafka."""

        def is_vouched() -> bool:
            records = self.system.topics.read(self.system.topic("connections"))
            told = {record.key: json.loads(record.value)["until_ms"] for record in records if record.value}
            return len(told) == SYMBOLS // 100 and min(told.values()) >= market_ms

        async def ask() -> bool:
            return await asyncio.to_thread(is_vouched)

        await wait_until_async(ask, PATIENCE_S, f"all before {market_ms} to be in Kafka")

    async def until_logged(self, text: str, times: int, name: str = "w0") -> None:
        """Wait until a worker has said something so many times."""
        log = self.system.workers[name].log
        await wait_until_async(lambda: log.read_text().count(text) >= times, PATIENCE_S, text)

    async def until_ms(self, market_ms: int) -> None:
        await wait_until_async(lambda: self.now_ms() >= market_ms, PATIENCE_S, f"market time {market_ms}")

    async def over_the_minute(self, name: str = "w0") -> None:
        """Leap to the end of the minute and go on into the next."""
        end_ms = self.now_ms() // MINUTE_MS * MINUTE_MS + MINUTE_MS
        self.now_ms.leap(max(self.now_ms(), end_ms - 300))
        await self.until_ms(end_ms + 700)
        await self.until_caught_up(name)


@asynccontextmanager
async def watched_market(
    system: System, start_ms: int, *, snapshot_every_ms: int, trades_per_s: float
) -> AsyncIterator[Scene]:
    """A market of 300 symbols that never closes, whose symbols of each kind fall on every connection."""
    now_ms = MarketTime(system.root / "shift", start_ms)
    market = Market(instruments(SYMBOLS, always_open=True), start_ms, trades_per_s=trades_per_s)
    listed = list(market.instruments)
    dealt = [symbol for first in range(3) for symbol in listed[first::3]]
    async with FakeYahoo(market, now_ms, snapshot_every_ms=snapshot_every_ms) as fake:
        calendars = write_always_open(system.root, market.instruments.values())
        system.environment.update(
            now_ms.environment, SYMBOLS=",".join(dealt), STOCKSTREAM_YAHOO_URL=fake.url, **calendars
        )
        yield Scene(fake, system, now_ms)


def expected_of(log: Mapping[int, Sequence[tuple[int, Tick]]]) -> dict[Key, Expected]:
    """The candles of everything in the tick topic, which is given by partition."""
    made = {}
    for entries in log.values():
        counted = [(at, tick) for at, tick in entries if tick.kind in CONTROLS or is_accepted(tick)]
        for key, reference in reference_candles(counted).items():
            made[key] = Expected(reference, None)
    return made


def content(item: Tick | Sent) -> Content:
    """What a snapshot said, as it was sent or as it lies in the topic."""
    if isinstance(item, Sent):
        return item.time_ms, item.price, item.volume
    return item.event_time, item.price, item.day_volume if item.day_volume >= 0 else int(item.volume_24h or 0)


def missing_frames(sent: Iterable[Sent], ticks: Iterable[Tick]) -> list[Sent]:
    """The frames that were sent and are not in the topic; nothing may be there that was not sent."""
    found: dict[str, set[Content]] = defaultdict(set)
    for tick in ticks:
        if tick.kind in ("snapshot", "quote"):
            found[tick.symbol].add(content(tick))
    missing, said = [], defaultdict(set)
    for frame in sent:
        said[frame.symbol].add(content(frame))
        if content(frame) not in found[frame.symbol]:
            missing.append(frame)
    invented = {symbol: contents - said[symbol] for symbol, contents in found.items() if contents - said[symbol]}
    assert not invented, invented
    return missing


def assert_told(missing: Iterable[Sent], ticks: Iterable[Tick]) -> None:
    """Whatever did not arrive lies in a hole, or was under way when that began."""
    holes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "gap" and tick.until is not None:
            holes[tick.symbol].append((tick.event_time - _UNDER_WAY_MS, tick.until))
    untold = [
        frame for frame in missing if not any(first <= frame.sent_ms < last for first, last in holes[frame.symbol])
    ]
    assert not untold, untold[:3]


def has_cumulative(fake: FakeYahoo, symbol: str) -> bool:
    """Whether the volume that it sends is one that candles may be made of."""
    each = fake.market.instruments[symbol]
    return each.has_volume and not each.is_rolling


def assert_whole_candles_are_the_markets(fake: FakeYahoo, candles: Mapping[Key, Candle], until_ms: int) -> Counter[str]:
    """Candles without a flag are what all trades of their window make, to the unit; how many there are by interval.

    Windows that end after ``until_ms`` are left out.
    """
    compared: Counter[str] = Counter()
    for (symbol, interval, session, start), trades in _windows(fake.tape.trades).items():
        candle = candles.get((symbol, interval, session, start))
        if start + LENGTHS[interval] > until_ms or candle is None or candle.partial or candle.gap:
            continue
        prices = [trade.price for trade in trades]
        made = candle.open, candle.high, candle.low, candle.close
        assert made == (prices[0], max(prices), min(prices), prices[-1]), (candle, trades)
        if has_cumulative(fake, symbol):
            assert candle.volume == sum(trade.size for trade in trades), (candle, trades)
        compared[interval] += 1
    return compared


def _windows(trades: Iterable[Trade]) -> dict[Key, list[Trade]]:
    found: dict[Key, list[Trade]] = defaultdict(list)
    for trade in trades:
        for interval, length in LENGTHS.items():
            found[trade.symbol, interval, "regular", trade.time_ms // length * length].append(trade)
    return found


def assert_volumes_add_up(
    fake: FakeYahoo, ticks: Iterable[Tick], candles: Mapping[Key, Candle]
) -> Counter[tuple[int, bool]]:
    """The candles of a date hold all volume of the tape up to the last snapshot, none of it twice.

    From the date's first trade on; from its first snapshot on where the symbol was not surely watched before that. How
    many add up, by (date, whether from its first trade). What has no cumulative volume has none in its candles.
    """
    seen: dict[tuple[str, int], list[int]] = defaultdict(list)
    for tick in ticks:
        if tick.kind == "snapshot":
            seen[tick.symbol, tick.event_time // DAY_MS * DAY_MS].append(content(tick)[2])
    parts: dict[tuple[str, int, str], list[Candle]] = defaultdict(list)
    for (symbol, interval, _, start), candle in sorted(candles.items(), key=lambda item: item[0][3]):
        parts[symbol, start // DAY_MS * DAY_MS, interval].append(candle)
    traded = _windows(fake.tape.trades)
    added: Counter[tuple[int, bool]] = Counter()
    for (symbol, date), volumes in seen.items():
        found = {interval: parts[symbol, date, interval] for interval in LENGTHS}
        if not has_cumulative(fake, symbol):
            assert {candle.volume for each in found.values() for candle in each} == {None}, symbol
            continue
        trades = traded[symbol, "1d", "regular", date]
        assert found["1d"][0].volume == _sizes(trades, 0, max(volumes)), found["1d"]
        for interval in ("1m", "5m"):
            is_whole = not found[interval][0].partial
            total = sum(candle.volume or 0 for candle in found[interval])
            assert total == _sizes(trades, 0 if is_whole else min(volumes), max(volumes)), found[interval]
            added[date, is_whole] += interval == "1m"
    return added


def _sizes(trades: Iterable[Trade], above: int, up_to: int) -> int:
    """Sum of the sizes of those trades whose cumulative volume lies in this range."""
    return sum(trade.size for trade in trades if above < trade.volume <= up_to)
