"""``python -m stockstream.sources.yahoo.fake --port 8765``: the fake as a process of its own, until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from dataclasses import asdict

from stockstream.sources.market import Market, MarketClock, instruments
from stockstream.sources.yahoo.fake.server import FakeYahoo


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m stockstream.sources.yahoo.fake", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, takes a free one")
    parser.add_argument("--symbols", type=int, default=300, help="how many instruments are traded")
    parser.add_argument("--trades-per-s", type=float, default=60.0, help="of all instruments together")
    parser.add_argument("--snapshot-every-ms", type=int, default=1000, help="pace of a symbol; 0: every trade")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as fast as the clock the market runs")
    parser.add_argument("--start-ms", type=int, help="the market's time at the start, epoch ms [now]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--always-open", action="store_true", help="no market ever closes")
    parser.add_argument("--tape", help="file to write every pricing frame to at the end, as JSON lines")
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    start_ms = options.start_ms or int(time.time() * 1000)
    listed = instruments(options.symbols, always_open=options.always_open)
    market = Market(listed, start_ms, trades_per_s=options.trades_per_s, seed=options.seed)
    clock = MarketClock(start_ms, options.scale)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with FakeYahoo(
        market,
        clock,
        port=options.port,
        snapshot_every_ms=options.snapshot_every_ms,
        keep_tape=options.tape is not None,
    ) as fake:
        print(fake.url, flush=True)
        print(",".join(market.instruments), flush=True)
        await ended.wait()
        if options.tape:
            _write(fake, options.tape)


def _write(fake: FakeYahoo, path: str) -> None:
    import json

    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(sent)) + "\n" for sent in fake.tape.sent)


if __name__ == "__main__":
    main()
