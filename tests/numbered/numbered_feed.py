"""A venue that counts its trades one by one and tells its past, as a source has to be written: feed and history."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import aiohttp

from stockstream.errors import BadMessage, HistoryFailed
from stockstream.models import Tick
from stockstream.sources.contract import Capabilities, Frame

NAME, TOPIC = "numbered", "numbered_trades"


class NumberedFeed:
    """Frames are JSON lists of [symbol, time ms, price, size, id]."""

    name = NAME
    capabilities = Capabilities("trades", 100, silence_s=3.0, sequential_ids=True)

    def __init__(self, url: str) -> None:
        self.url = url

    def subscribe(self, symbols: Sequence[str], now_ms: int) -> list[str]:
        return [json.dumps({"subscribe": list(symbols)})]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        return [json.dumps({"unsubscribe": list(symbols)})]

    def parse(self, frame: Frame, received_ms: int) -> list[Tick]:
        try:
            return [tick_of(each, received_ms) for each in json.loads(frame)]
        except (TypeError, ValueError) as error:
            raise BadMessage("no trades") from error

    def is_open(self, now_ms: int) -> bool:
        return True

    def fatal(self, error: Exception) -> str | None:
        return None


class NumberedHistory:
    """``/trades`` of the venue, a page of at most 40 at a time."""

    name = NAME
    depth_ms = 86_400_000

    def __init__(self, url: str) -> None:
        self._url = url.replace("ws:", "http:") + "/trades"

    async def trades(self, symbol: str, from_ms: int, until_ms: int) -> AsyncIterator[list[Tick]]:
        after = -1
        async with aiohttp.ClientSession() as session:
            while True:
                asked = {"symbol": symbol, "from": from_ms, "until": until_ms, "after": after}
                async with session.get(self._url, params=asked) as answer:
                    if answer.status != 200:
                        raise HistoryFailed(f"{self._url} answers {answer.status}")
                    page = await answer.json()
                if not page:
                    return
                yield [tick_of(each, each[1]) for each in page]
                after = page[-1][4]


def tick_of(told: list[object], received_ms: int) -> Tick:
    symbol, time_ms, price, size, number = told
    return Tick(
        str(symbol), int(time_ms), float(price), float(size), trade_id=int(number), source=NAME, exchange="NUM",
        producer_timestamp=received_ms,
    )  # type: ignore[arg-type, call-overload]  # fmt: skip
