"""A fake venue of trades as a process of its own, until it is ended: ``python -m bench.venue binance --tape FILE``.

Prints its URL and its symbols; at the end what it has sent is in the tape, a JSON line each, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stockstream.sources.binance.fake.server import FakeBinance
from stockstream.sources.binance.fake.tape import Tape
from stockstream.sources.finnhub.fake import FakeFinnhub, Market
from stockstream.sources.ssi.fake import FakeSsi

FILLS_AN_ORDER = 2.5
TRADES_A_FRAME = {"finnhub": 7, "ssi": 3}
TOKEN = "bench"  # noqa: S105 - it opens nothing but the fake
CONSUMER = ("bench", "bench")

Sent = Callable[[], Iterable[tuple[str, int, int, float]]]
"""(symbol, ms when it was sent, trade's time ms, price) of all that was sent, in order."""


@asynccontextmanager
async def binance(symbols: int, trades_per_s: float) -> AsyncIterator[tuple[str, list[str], Sent]]:
    names = [f"B{number:03d}USDT" for number in range(symbols)]
    tape = Tape(names, now_ms(), trades_per_s / FILLS_AN_ORDER)
    async with FakeBinance(tape, now_ms) as fake:

        def sent() -> Iterator[tuple[str, int, int, float]]:
            for client in [*fake.gone, *fake.clients]:
                for name, trade_id in client.sent:
                    trade = tape.trades[name][trade_id - tape.trades[name][0].trade_id]
                    yield f"BINANCE:{name}", trade.time_ms, trade.time_ms, float(trade.price)

        yield fake.url, [f"BINANCE:{name}" for name in names], sent


@asynccontextmanager
async def finnhub(symbols: int, trades_per_s: float) -> AsyncIterator[tuple[str, list[str], Sent]]:
    names = [f"F{number:03d}" for number in range(symbols)]
    frame_every_s = TRADES_A_FRAME["finnhub"] / trades_per_s
    async with FakeFinnhub(Market(names), now_ms, token=TOKEN, symbols=symbols, frame_every_s=frame_every_s) as fake:

        def sent() -> Iterator[tuple[str, int, int, float]]:
            for _, each in fake.tape.sent:
                yield f"FINNHUB:{each.symbol}", each.time_ms, each.time_ms, each.price

        yield fake.url, [f"FINNHUB:{name}" for name in names], sent


@asynccontextmanager
async def ssi(symbols: int, trades_per_s: float) -> AsyncIterator[tuple[str, list[str], Sent]]:
    names = [f"V{number:03d}" for number in range(symbols)]
    frame_every_s = TRADES_A_FRAME["ssi"] / trades_per_s
    fake = FakeSsi(names, now_ms, consumer=CONSUMER, frame_every_s=frame_every_s, quote_share=0, keeps_hours=False)
    async with fake:

        def sent() -> Iterator[tuple[str, int, int, float]]:
            for (_, each), sent_ms in zip(fake.tape.sent, fake.tape.sent_ms, strict=True):
                yield f"SSI:{each.symbol}", sent_ms, each.time_ms, each.price

        yield fake.url, [f"SSI:{name}" for name in names], sent


VENUES: dict[str, Any] = {"binance": binance, "finnhub": finnhub, "ssi": ssi}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.venue", description=__doc__)
    arguments.add_argument("venue", choices=VENUES)
    arguments.add_argument("--symbols", type=int, required=True)
    arguments.add_argument("--trades-per-s", type=float, required=True)
    arguments.add_argument("--tape", type=Path, required=True)
    given = arguments.parse_args()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with VENUES[given.venue](given.symbols, given.trades_per_s) as (url, symbols, sent):
        print(url, flush=True)
        print(",".join(symbols), flush=True)
        await ended.wait()
        lines = [
            json.dumps({"symbol": symbol, "sent_ms": sent_ms, "time_ms": time_ms, "price": price})
            for symbol, sent_ms, time_ms, price in sent()
        ]
        given.tape.write_text("\n".join(lines))


if __name__ == "__main__":
    asyncio.run(main())
