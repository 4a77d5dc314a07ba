"""A sink in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from stockstream.models import Candle
from stockstream.sinks.contract import ArchivedTick, CandleBlock, TickBlock


class MemorySink:
    """A `Sink` that keeps ``stored_candles`` by `Candle.key` and ``stored_ticks`` by (topic, partition, offset)."""

    def __init__(self) -> None:
        self.stored_candles: dict[tuple[str, str, str, int], Candle] = {}
        self.stored_ticks: dict[tuple[str, int, int], ArchivedTick] = {}

    async def start(self) -> None:
        """Nothing to create."""

    async def insert_candles(self, candles: Sequence[Candle]) -> None:
        """Store each candle unless a greater version of it is there."""
        for candle in candles:
            held = self.stored_candles.get(candle.key)
            if held is None or candle.version >= held.version:
                self.stored_candles[candle.key] = candle

    async def insert_ticks(self, ticks: Sequence[ArchivedTick]) -> None:
        """Store ticks, each once."""
        for tick in ticks:
            self.stored_ticks[(tick.topic, tick.partition, tick.offset)] = tick

    async def insert_candle_blocks(self, blocks: Sequence[CandleBlock]) -> None:
        """Store candles that are held as columns."""
        for block in blocks:
            await self.insert_candles([block.item(index) for index in range(len(block))])

    async def insert_tick_blocks(self, blocks: Sequence[TickBlock]) -> None:
        """Store ticks that are held as columns."""
        for block in blocks:
            await self.insert_ticks([block.item(index) for index in range(len(block))])

    async def candles(
        self,
        symbol: str,
        interval: str,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        session: str = "regular",
    ) -> list[Candle]:
        """The last ``limit`` candles that begin in ``[start_ms, end_ms)``, ascending."""
        found = [
            candle
            for candle in self.stored_candles.values()
            if (candle.symbol, candle.interval, candle.session) == (symbol, interval, session)
            and (start_ms is None or candle.window_start >= start_ms)
            and (end_ms is None or candle.window_start < end_ms)
        ]
        found.sort(key=lambda candle: candle.window_start)
        return found[max(0, len(found) - limit) :]

    async def ping(self) -> None:
        """Always answers."""

    async def close(self) -> None:
        """Nothing to give up; what is stored stays readable."""
